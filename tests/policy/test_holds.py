"""Each hold alone: what raises it, what it says, and that nothing overrules it."""

import re
from dataclasses import replace

import pytest
from builders import GIB, NOW, ck, kept, lost, plan_of, run, series, verdict_on, world

from ckptd.model import Standing, Use
from ckptd.policy import KeepBest, KeepLast, Policy

KEEP_ONE = Policy(rules=(KeepLast(1),), firm=(KeepLast(1),))
TRUST = (
    'format huggingface is known from its source only; trust = ["huggingface"] allows acting on it'
)
PYTHON = Use("open", 42, "python")


def old(**fields):
    """A complete checkpoint that no rule of KEEP_ONE keeps and no other hold holds."""
    return ck(1, age="3h", **fields)


def among(checkpoint, **fields):
    """*checkpoint* in a run whose newest and highest is another one."""
    return run(checkpoint, ck(2, age="2h"), **fields)


def holds_of(there, name="checkpoint-1", policy=KEEP_ONE, **fields):
    """Rule and text of each hold that keeps *name*, the rules' own reasons left out."""
    verdict = verdict_on(plan_of(world(there, **fields), policy), name)
    assert (verdict.standing is Standing.HELD) == (verdict.action == "keep")
    return [(r.rule, r.text) for r in verdict.reasons if r.keeps and r.rule != "keep_last"]


def test_without_a_hold_the_old_one_goes():
    assert holds_of(among(old())) == []
    assert kept(plan_of(world(among(old())), KEEP_ONE)) == {"checkpoint-2"}


HELD = [
    (
        among(old(), adopted=False),
        "not_adopted",
        "this run is not adopted; ckptd adopt PATH puts it under care",
    ),
    (
        among(old(), trusted=False),
        "untrusted",
        TRUST,
    ),
    (among(old(pinned=True)), "pinned", "pinned; ckptd unpin PATH lets go of it"),
    (
        among(ck(1, health="writing")),
        "writing",
        "still being written: model.safetensors grew 2 s ago",
    ),
    (
        among(ck(1, health="unproven")),
        "unproven",
        "neither proven whole nor damaged: there is no trainer_state.json",
    ),
    (
        among(ck(1, health="broken"), live=True, users=(PYTHON,)),
        "live",
        "python (pid 42) has a file of this run open; set aside once that has ended",
    ),
    (
        among(ck(1, health="broken"), live=True),
        "live",
        "a live process works on this run; set aside once that has ended",
    ),
    (
        run(ck(2, age="3h", name="checkpoint-1"), ck(1, age="2h", name="other")),
        "highest_step",
        "highest step of this run; resuming takes it",
    ),
    (
        among(ck(1, age="-3650d")),
        "future",
        "its file times say 2035-12-31, which is in the future; its age is unknown",
    ),
    (among(old(), pointers={"latest": "checkpoint-1"}), "pointer", "latest points at it"),
    (among(old(uses=(PYTHON,))), "in_use", "python (pid 42) has a file of it open"),
    (among(old(uses=(Use("lock"),))), "in_use", "a process holds a lock on it"),
    (among(old(uses=(Use("cwd", 7, "bash"),))), "in_use", "bash (pid 7) works inside it"),
    (
        among(old(uses=(Use("named", 7, "python"),))),
        "named",
        "python (pid 7) names it on its command line",
    ),
    (
        among(old(foreign=("notes.md",))),
        "foreign",
        "holds notes.md, which no trainer wrote",
    ),
    (
        run(old(), ck(2, age="2h"), ck(3, age=0, health="writing")),
        "save_open",
        "checkpoint-3 is being written in this run; nothing goes meanwhile",
    ),
    (
        among(old(), live=True, trainer_limit=2),
        "trainer_rotates",
        "left to the trainer: its save_total_limit is 2",
    ),
]


@pytest.mark.parametrize(
    ("there", "rule", "text"), HELD, ids=[f"{rule}-{n}" for n, (_, rule, _) in enumerate(HELD)]
)
def test_a_hold_forbids_and_says_why(there, rule, text):
    assert holds_of(there) == [(rule, text)]


@pytest.mark.parametrize(
    ("there", "rule", "text"), HELD, ids=[f"{rule}-{n}" for n, (_, rule, _) in enumerate(HELD)]
)
def test_only_calm_and_the_trainers_own_rotation_yield_to_demand(there, rule, text):
    still = holds_of(there, used=99)

    assert still == ([] if rule in {"save_open", "trainer_rotates"} else [(rule, text)])


def test_the_newest_complete_one_is_held():
    there = run(ck(2, age="3h"), ck(1, age="2h"))

    assert ("newest", "newest complete checkpoint of this run") in holds_of(there)


def test_an_only_complete_one_is_held_although_others_are_broken():
    there = run(old(), ck(2, age="2h", health="broken"), ck(3, age="1h", health="unproven"))

    assert ("only_intact", "only complete checkpoint of this run") in holds_of(there)


def test_a_broken_one_is_neither_the_newest_nor_the_highest():
    there = run(old(), ck(2, age="2h"), ck(3, age="1h", health="broken"))

    assert holds_of(there, "checkpoint-2")[0][0] == "newest"
    assert "highest_step" in [rule for rule, _ in holds_of(there, "checkpoint-2")]


def test_one_from_the_future_is_nobodys_reference():
    there = run(old(), ck(2, age="2h"), ck(3, age="-365d"))

    assert "newest" in [rule for rule, _ in holds_of(there, "checkpoint-2")]


def test_where_all_are_from_the_future_the_last_is_the_newest():
    there = run(ck(1, age="-1d"), ck(2, age="-2d"))

    assert "newest" in [rule for rule, _ in holds_of(there, "checkpoint-2")]


@pytest.mark.parametrize(("age", "holds"), [("-59s", []), ("-61s", ["future"])])
def test_a_clock_may_be_a_minute_ahead(age, holds):
    there = run(ck(0, age=age), ck(2, age="-60s"))

    assert [rule for rule, _ in holds_of(there, "checkpoint-0")] == holds


@pytest.mark.parametrize(
    ("age", "holds"),
    [
        pytest.param(
            599, [("min_age", "too young by 1 s; min_age is 10 min")], id="a-second-short"
        ),
        pytest.param(240, [("min_age", "too young by 6 min; min_age is 10 min")], id="too-young"),
        pytest.param(600, [], id="old-enough"),
    ],
)
def test_what_is_younger_than_min_age_is_held(age, holds):
    policy = Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), min_age=600)

    assert holds_of(run(ck(1, age=age), ck(2, age=60)), policy=policy) == holds


@pytest.mark.parametrize(
    ("patterns", "text"),
    [
        pytest.param(("checkpoint-1",), "pinned by pin = ['checkpoint-1']", id="exact"),
        pytest.param(("x", "*-1"), "pinned by pin = ['*-1']", id="the-one-that-matches"),
        pytest.param(("*",), "pinned by pin = ['*']", id="whole-run"),
        pytest.param(("CHECKPOINT-1", "heckpoint-1", "checkpoint"), None, id="no-near-miss"),
        pytest.param(("checkpoint-[12]",), "pinned by pin = ['checkpoint-[12]']", id="class"),
    ],
)
def test_a_pattern_pins_the_names_it_matches_whole(patterns, text):
    policy = Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), pin=patterns)

    assert [t for rule, t in holds_of(among(old()), policy=policy) if rule == "pinned"] == (
        [text] if text else []
    )


def test_a_save_in_progress_is_held_for_itself_and_not_for_being_open():
    there = among(ck(1, health="writing"))

    assert [rule for rule, _ in holds_of(there)] == ["writing"]


@pytest.mark.parametrize(
    ("steps", "limit", "live", "left"),
    [
        pytest.param([1, 2, 3], 3, True, {1}, id="full-the-next-save-takes-one"),
        pytest.param([1, 2, 3], 4, True, set(), id="room-for-the-next-save"),
        pytest.param([1, 2, 3], 2, True, {1, 2}, id="over-its-limit"),
        pytest.param([1, 2, 3], 3, False, set(), id="the-trainer-is-gone"),
        pytest.param([1, 2, 3], None, True, set(), id="no-limit"),
    ],
)
def test_the_trainers_next_victims_are_left_to_it(steps, limit, live, left):
    policy = Policy(rules=(KeepLast(9),), firm=(KeepLast(1),))
    plan = plan_of(world(run(*series(*steps), live=live, trainer_limit=limit)), policy)

    rules = {v.checkpoint.step: {r.rule for r in v.reasons} for v in plan.verdicts}
    assert {step for step, holds in rules.items() if "trainer_rotates" in holds} == left


def test_nothing_is_left_to_a_trainer_that_has_room_once_the_rest_is_gone():
    there = run(*series(1, 2, 3), live=True, trainer_limit=3)

    assert kept(plan_of(world(there), KEEP_ONE)) == {"checkpoint-3"}


# --- the trainer's recorded best ---------------------------------------------------------


def test_the_best_that_a_kept_ones_state_names_is_held():
    there = run(old(), ck(2, age="2h", recorded_best="checkpoint-1"))

    assert holds_of(there) == [("recorded_best", "the trainer's state records it as its best")]


def test_the_best_that_only_a_lost_ones_state_names_is_not_held():
    there = run(old(), ck(2, age="2h", recorded_best="checkpoint-1"), ck(3, age="1h"))

    assert kept(plan_of(world(there), KEEP_ONE)) == {"checkpoint-3"}


def test_a_best_that_is_held_holds_the_best_it_names_in_turn():
    there = run(
        ck(1, age="4h"),
        ck(2, age="3h", recorded_best="checkpoint-1"),
        ck(3, age="2h", recorded_best="checkpoint-2"),
    )

    assert kept(plan_of(world(there), KEEP_ONE)) == {f"checkpoint-{n}" for n in (1, 2, 3)}


def test_what_a_soft_one_names_is_no_firmer_than_itself():
    """In a training that gets better every save names itself, and room could never be made."""
    better = [ck(n, age=f"{9 - n}h", recorded_best=f"checkpoint-{n}") for n in range(1, 6)]
    roomy, full = (plan_of(world(run(*better), used=used)) for used in (50, 95))

    assert [v.standing for v in roomy.verdicts] == ["soft", "soft", "soft", "held", "held"]
    assert kept(full) == {"checkpoint-4", "checkpoint-5"}


def test_what_holds_it_already_is_said_before_that_it_names_itself():
    better = [ck(n, age=f"{9 - n}h", recorded_best=f"checkpoint-{n}") for n in range(1, 5)]
    there = run(*better, ck(9, age=1, health="writing"))

    rules = [r.rule for r in verdict_on(plan_of(world(there)), "checkpoint-1").reasons]
    assert rules[:2] == ["save_open", "recorded_best"]


def test_the_best_of_a_soft_one_stays_while_there_is_room():
    policy = Policy(rules=(KeepLast(3),), firm=(KeepLast(1),))
    there = run(old(), ck(2, age="4h", recorded_best="checkpoint-1"), *series(3, 4))

    assert "checkpoint-1" in kept(plan_of(world(there), policy))
    assert kept(plan_of(world(there, used=99), policy)) == {"checkpoint-4"}


def test_a_best_that_is_gone_or_itself_changes_nothing():
    there = run(old(recorded_best="checkpoint-1"), ck(2, age="2h", recorded_best="checkpoint-9"))

    assert kept(plan_of(world(there), KEEP_ONE)) == {"checkpoint-2"}


# --- divergence --------------------------------------------------------------------------


def after(step, *checkpoints, **fields):
    """These checkpoints; those from *step* on are of a training that diverged there."""
    return [
        replace(c, divergence=lost(step, **fields)) if c.step >= step else c for c in checkpoints
    ]


def test_a_diverged_one_takes_no_slot_and_the_last_healthy_one_is_held():
    plan = plan_of(world(run(*after(3, *series(1, 2, 3, 4, 5)))), KEEP_ONE)

    assert kept(plan) == {"checkpoint-2", "checkpoint-5"}
    reasons = [(r.rule, r.keeps, r.text) for r in verdict_on(plan, "checkpoint-2").reasons]
    assert reasons == [
        ("last_healthy", True, "last healthy one: grad_norm is nan since step 3"),
        ("keep_last", True, "newest; keep_last is 1"),
    ]
    text = "the training had diverged: grad_norm is nan since step 3; it takes no slot of a rule"
    gone = verdict_on(plan, "checkpoint-4")
    assert [(r.rule, r.keeps, r.text) for r in gone.reasons] == [("diverged", False, text)]


@pytest.mark.parametrize(
    ("policy", "standing", "rule"),
    [
        pytest.param(Policy(), "soft", "keep_last", id="the-defaults"),
        pytest.param(Policy(rules=(), firm=()), "soft", "no_rule", id="no-rule"),
        pytest.param(
            Policy(rules=(KeepLast(1),), firm=(KeepLast(None),)), "firm", "keep_last", id="firm"
        ),
    ],
)
def test_a_diverged_one_is_not_let_go_for_that_alone(policy, standing, rule):
    verdict = verdict_on(
        plan_of(world(run(*after(3, *series(1, 2, 3, 4)))), policy), "checkpoint-3"
    )

    assert (verdict.standing, verdict.action) == (standing, "keep")
    assert rule in [r.rule for r in verdict.reasons if r.keeps]
    assert "diverged" in [r.rule for r in verdict.reasons if not r.keeps]


@pytest.mark.parametrize("fields", [{"pinned": True}, {"uses": (PYTHON,)}, {"foreign": ("a",)}])
def test_every_hold_holds_a_diverged_one(fields):
    there = run(*after(2, ck(1, age="4h"), ck(2, age="3h", **fields), ck(3, age="2h")))

    assert verdict_on(plan_of(world(there, used=99), KEEP_ONE), "checkpoint-2").standing == "held"


def test_what_is_only_suspected_takes_its_slot_and_holds_the_one_before():
    there = run(*after(4, *series(1, 2, 3, 4, 5), proven=False))

    assert kept(plan_of(world(there), KEEP_ONE)) == {"checkpoint-3", "checkpoint-5"}
    assert holds_of(there, "checkpoint-3") == [
        ("last_healthy", "last healthy one if it stays so: grad_norm is nan since step 4")
    ]


def test_where_the_log_is_sparse_the_last_before_it_is_held_as_well():
    there = run(*after(5, *series(1, 2, 3, 4, 5), finite_at=2))

    assert kept(plan_of(world(there), KEEP_ONE)) == {f"checkpoint-{n}" for n in (2, 4, 5)}


def test_a_training_that_went_back_holds_what_it_went_back_to_until_it_has_a_save_of_its_own():
    old = after(500, *series(300, 400, 600, 700, every="2h"))

    assert kept(plan_of(world(run(*old)), KEEP_ONE)) == {"checkpoint-400", "checkpoint-700"}
    there = run(*old, ck(450, age="1min"))
    assert kept(plan_of(world(there), KEEP_ONE)) == {"checkpoint-450", "checkpoint-700"}
    further = run(*old, *series(450, 800))
    assert kept(plan_of(world(further), KEEP_ONE)) == {"checkpoint-800"}


def test_a_training_that_is_lost_from_its_start_holds_the_last_one_of_the_training_before():
    there = run(*series(800, 900, every="2h"), *after(10, *series(20, 30)))

    assert kept(plan_of(world(there), KEEP_ONE)) == {"checkpoint-900", "checkpoint-30"}


def test_where_all_have_diverged_the_newest_stays():
    assert kept(plan_of(world(run(*after(1, *series(1, 2, 3)))), KEEP_ONE)) == {"checkpoint-3"}


def test_the_best_that_a_diverged_ones_state_names_is_held_and_so_is_a_diverged_best():
    there = run(
        ck(1, age="6h"),
        ck(2, age="5h"),
        *after(3, ck(3, age="4h"), ck(4, age="3h", recorded_best="checkpoint-1")),
    )
    assert kept(plan_of(world(there), KEEP_ONE)) == {f"checkpoint-{n}" for n in (1, 2, 4)}

    stuck = run(
        ck(2, age="5h"), *after(3, ck(3, age="4h"), ck(4, age="3h", recorded_best="checkpoint-3"))
    )
    assert kept(plan_of(world(stuck), KEEP_ONE)) == {f"checkpoint-{n}" for n in (2, 3, 4)}


def test_keep_best_ranks_neither_nan_nor_what_came_after_a_divergence():
    policy = Policy(rules=(KeepBest(1, mode="min"),), firm=(KeepBest(1, mode="min"),))
    there = run(
        ck(1, 0.5, age="6h"),
        ck(2, 0.4, age="5h"),
        ck(3, 0.9, age="4h"),
        *after(4, ck(4, 0.0, age="3h"), ck(5, float("nan"), age="2h")),
    )

    assert kept(plan_of(world(there), policy)) == {f"checkpoint-{n}" for n in (2, 3, 5)}


# --- names are hostile -------------------------------------------------------------------


def test_no_text_of_a_reason_carries_a_control_character():
    evil = "\x1b[2J\n\udcff"
    there = run(
        ck(1, age="3h", name=f"a{evil}", foreign=(f"b{evil}",)),
        ck(2, age="2h", divergence=lost(2, what=f"g{evil}")),
        ck(3, age=0, name=f"c{evil}", health="writing", evidence=f"{evil} grew"),
        pointers={f"d{evil}": f"a{evil}"},
        users=(Use("cwd", 1, f"e{evil}"),),
    )
    policy = Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), pin=(f"a{evil}",))

    texts = [r.text for v in plan_of(world(there), policy).verdicts for r in v.reasons]

    assert not [text for text in texts if re.search(r"[\x00-\x1f\udc80-\udcff]", text)]


def test_the_moment_of_the_plan_is_the_one_given():
    assert plan_of(world(among(old(bytes=GIB)))).made_at == NOW
