"""Each hold alone: what raises it, what it says, and that nothing overrules it."""

import re

import pytest
from builders import GIB, NOW, ck, kept, plan_of, run, series, verdict_on, world

from ckptd.model import Standing, Use
from ckptd.policy import KeepLast, Policy

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


def test_a_best_that_is_gone_or_itself_changes_nothing():
    there = run(old(recorded_best="checkpoint-1"), ck(2, age="2h", recorded_best="checkpoint-9"))

    assert kept(plan_of(world(there), KEEP_ONE)) == {"checkpoint-2"}


# --- names are hostile -------------------------------------------------------------------


def test_no_text_of_a_reason_carries_a_control_character():
    evil = "\x1b[2J\n\udcff"
    there = run(
        ck(1, age="3h", name=f"a{evil}", foreign=(f"b{evil}",)),
        ck(2, age="2h"),
        ck(3, age=0, name=f"c{evil}", health="writing", evidence=f"{evil} grew"),
        pointers={f"d{evil}": f"a{evil}"},
        users=(Use("cwd", 1, f"e{evil}"),),
    )
    policy = Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), pin=(f"a{evil}",))

    texts = [r.text for v in plan_of(world(there), policy).verdicts for r in v.reasons]

    assert not [text for text in texts if re.search(r"[\x00-\x1f\udc80-\udcff]", text)]


def test_the_moment_of_the_plan_is_the_one_given():
    assert plan_of(world(among(old(bytes=GIB)))).made_at == NOW
