"""The ladder of relief: what goes, in which order, how much, and where it stops."""

from dataclasses import replace
from datetime import timedelta

import pytest
from builders import (
    GIB,
    NOW,
    ck,
    disk,
    kept,
    lost,
    plan_of,
    run,
    series,
    trashed,
    verdict_on,
    world,
)

from ckptd.model import ActionKind, Standing, Unreadable
from ckptd.policy import KeepBest, KeepLast, Marks, Policies, Policy
from ckptd.policy.pressure import demand
from ckptd.units import Share

KEEP_ONE = Policy(rules=(KeepLast(1),), firm=(KeepLast(1),))
THIN = Policy(rules=(KeepLast(None),), firm=(KeepLast(1),))


def steps_of(plan):
    """The actions in a line each: kind and name, `!` where the bytes go at once."""
    return [
        f"{a.kind} {a.path.rpartition('/')[2]}{'!' if a.purge_now and a.checkpoint else ''}"
        for a in plan.actions
    ]


def need_of(plan):
    return plan.filesystems[0].demand / GIB, plan.filesystems[0].shortfall / GIB


# --- without demand ----------------------------------------------------------------------


def test_surplus_goes_to_the_trash_oldest_first():
    plan = plan_of(world(run(*series(1, 2, 3))), KEEP_ONE)

    assert steps_of(plan) == ["evict checkpoint-1", "evict checkpoint-2"]
    assert plan.reclaim_bytes == 2 * GIB


def test_surplus_of_several_runs_goes_by_age_across_them():
    runs = (
        run(ck(1, age=50), ck(2, age=20), path="/data/b"),
        run(ck(3, age=40), ck(4, age=10), path="/data/a"),
    )

    assert steps_of(plan_of(world(*runs), KEEP_ONE)) == [
        "evict checkpoint-1",
        "evict checkpoint-3",
    ]


def test_broken_litter_is_set_aside_before_surplus_goes():
    there = run(*series(1, 2), ck(9, age=1, health="broken"))

    assert steps_of(plan_of(world(there), KEEP_ONE)) == [
        "set_aside checkpoint-9",
        "evict checkpoint-1",
    ]


def test_without_trash_what_goes_is_unlinked_at_once():
    policy = Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), trash_for=0)

    assert steps_of(plan_of(world(run(*series(1, 2))), policy)) == ["evict checkpoint-1!"]


def test_calm_is_handed_on_as_a_wait_and_dropped_under_demand():
    there = run(*series(1, 2), calm=1.5)

    assert [a.wait for a in plan_of(world(there), KEEP_ONE).actions] == [1.5]
    assert [a.wait for a in plan_of(world(there, used=90), KEEP_ONE).actions] == [0.0]


@pytest.mark.parametrize(
    ("seconds", "calm", "wait"),
    [(None, 2.0, 0.5), (600.0, 1.9, 0.4), (600.0, 1.5, 0.0), (0.8, 2.0, 0.1), (0.8, 1.9, 0.0)],
)
def test_for_a_breath_after_a_save_not_even_demand_lets_go(seconds, calm, wait):
    """A trainer that rotates lists its saves then; fast ones must not keep relief away."""
    there = replace(run(*series(1, 2), calm=calm), save_interval_seconds=seconds)

    (step,) = plan_of(world(there, used=90), KEEP_ONE).actions
    assert step.urgent
    assert step.wait == pytest.approx(wait)


def test_copies_with_old_times_draw_breath_by_when_they_came():
    copied = [replace(c, age=age) for c, age in zip(series(1, 2), (0.48, 0.08), strict=True)]
    there = replace(run(*copied, calm=2.0), save_interval_seconds=3600.0)

    (step,) = plan_of(world(there, used=90), KEEP_ONE).actions
    assert step.wait == pytest.approx(0.05)


def test_an_old_save_that_changes_shortens_no_breath():
    first, *others = series(1, 2, 3, every="10min")
    there = replace(
        run(
            replace(first, age=0.09),
            *[replace(c, age=age) for c, age in zip(others, (600, 0.1), strict=True)],
            calm=1.9,
        ),
        save_interval_seconds=600.0,
    )
    assert there.breath == 0.5


def test_a_policy_counts_for_its_own_run_only():
    runs = (run(*series(1, 2), path="/data/a"), run(*series(3, 4), path="/data/b"))

    plan = plan_of(world(*runs), by_run={"/data/b": KEEP_ONE})

    assert steps_of(plan) == ["evict checkpoint-3"]


def test_no_rule_lets_nothing_go():
    plan = plan_of(world(run(*series(1, 2, 3))), Policy(rules=(), firm=()))

    assert plan.actions == ()
    assert [r.rule for r in verdict_on(plan, "checkpoint-1").reasons] == ["no_rule"]


def test_what_could_not_be_read_is_handed_on():
    unreadable = (Unreadable("/data/x", "Permission denied"),)

    assert plan_of(world(unreadable=unreadable)).unreadable == unreadable


# --- standings ---------------------------------------------------------------------------


def test_the_two_levels_make_the_standings():
    policy = Policy(rules=(KeepLast(4),), firm=(KeepLast(3),))
    plan = plan_of(world(run(*series(1, 2, 3, 4, 5))), policy)

    assert [v.standing for v in plan.verdicts] == [
        Standing.SURPLUS,
        Standing.SOFT,
        Standing.FIRM,
        Standing.FIRM,
        Standing.HELD,
    ]


def test_what_only_pressure_keeps_says_so():
    policy = Policy(rules=(KeepLast(1),), firm=(KeepLast(1), KeepBest(1)))
    verdict = verdict_on(plan_of(world(run(ck(1, 0.1), *series(2, 3))), policy), "checkpoint-1")

    assert verdict.standing is Standing.FIRM
    assert [r.text for r in verdict.reasons if r.keeps] == [
        "best by eval_loss (0.1, lower is better); keep_best is 1 under pressure"
    ]


# --- under demand ------------------------------------------------------------------------


def test_soft_ones_go_by_what_they_cost_until_the_low_mark():
    there = run(*series(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
    plan = plan_of(world(there, used=85), THIN)

    assert need_of(plan) == (5, 0)
    # Every other one first: then nobody who goes back trains more than two minutes again.
    assert steps_of(plan) == [f"evict checkpoint-{n}!" for n in (1, 3, 5, 7, 9)]


def test_soft_ones_of_several_runs_go_by_age_across_them():
    runs = (
        run(ck(1, age=50), ck(2, age=20), path="/data/b"),
        run(ck(3, age=40), ck(4, age=10), path="/data/a"),
    )

    assert steps_of(plan_of(world(*runs, used=85), THIN)) == [
        "evict checkpoint-1!",
        "evict checkpoint-3!",
    ]


def test_a_taken_soft_one_says_that_room_is_needed_and_what_kept_it():
    plan = plan_of(world(run(*series(1, 2)), used=85), THIN)
    verdict = verdict_on(plan, "checkpoint-1")

    assert (verdict.standing, verdict.action) == (Standing.SOFT, ActionKind.EVICT)
    assert [r.text for r in verdict.reasons] == [
        (
            "kept only while there is room; costs 1 min of replay, frees 1.0 GiB; "
            "the disk is 85.0 % used and must gain 5.0 GiB"
        ),
        "2nd newest; keep_last is unlimited",
    ]
    assert plan.actions[0].reasons == verdict.reasons


def test_the_ladder_goes_from_the_cheapest_regret_to_the_dearest():
    there = run(*series(3, 4, 5), ck(9, age=1, health="broken"))
    policy = Policy(rules=(KeepLast(2),), firm=(KeepLast(1),))
    trash = (trashed(0, since="10min"), trashed(2, since="2h"), trashed(1, since="20min"))

    assert steps_of(plan_of(world(there, used=90, trash=trash), policy)) == [
        "purge checkpoint-2",
        "purge checkpoint-1",
        "purge checkpoint-0",
        "set_aside checkpoint-9!",
        "evict checkpoint-3!",
        "evict checkpoint-4!",
    ]


def test_surplus_beyond_the_demand_goes_to_the_trash():
    there = run(ck(1, age=30, bytes=6 * GIB), ck(2, age=20), ck(3, age=10))

    assert steps_of(plan_of(world(there, used=85), KEEP_ONE)) == [
        "evict checkpoint-1!",
        "evict checkpoint-2",
    ]


def test_trash_that_is_not_needed_stays_under_demand():
    trash = (trashed(1, since="20min", bytes=6 * GIB), trashed(2, since="10min"))

    assert steps_of(plan_of(world(used=85, trash=trash))) == ["purge checkpoint-1"]


def test_what_nobody_may_give_is_the_shortfall():
    plan = plan_of(world(run(*series(1, 2, 3)), used=95), THIN)

    assert need_of(plan) == (15, 13)
    assert plan.filesystems[0].state == "hard"
    assert kept(plan) == {"checkpoint-3"}


def test_demand_on_one_filesystem_takes_nothing_from_another():
    runs = (
        run(*series(1, 2), path="/data/a"),
        run(*series(3, 4), path="/scratch/a", filesystem="/scratch"),
    )
    trash = (trashed(9, filesystem="/scratch"),)
    disks = (disk(90), disk(50, path="/scratch"))

    plan = plan_of(world(*runs, filesystems=disks, trash=trash), THIN)

    assert steps_of(plan) == ["evict checkpoint-1!"]


def test_a_run_whose_filesystem_was_not_measured_has_no_demand():
    there = run(*series(1, 2), filesystem="/elsewhere")

    assert plan_of(world(there, used=99), THIN).actions == ()
    assert steps_of(plan_of(world(there, used=99), KEEP_ONE)) == ["evict checkpoint-1"]


# --- the trash ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "trash_for", "purged"),
    [
        pytest.param("59min", 3600, False, id="not-yet"),
        pytest.param("1h", 3600, True, id="its-time-is-over"),
        pytest.param("-1h", 3600, False, id="clock-went-back"),
        pytest.param("1s", 0, True, id="no-trash"),
        pytest.param("999d", float("inf"), False, id="for-ever"),
        pytest.param("999d", 1e15, False, id="longer-than-a-timedelta"),
    ],
)
def test_trash_is_purged_when_its_time_is_over(since, trash_for, purged):
    policy = Policy(trash_for=trash_for)
    plan = plan_of(world(trash=(trashed(1, since=since),)), policy)

    assert steps_of(plan) == (["purge checkpoint-1"] if purged else [])


@pytest.mark.parametrize("lost", ["/data/a", "/data"])
def test_what_came_from_a_run_that_cannot_be_seen_is_not_purged(lost):
    """It may be all that the run has left."""
    unreadable = (Unreadable(lost, "permission denied"),)
    plan = plan_of(world(trash=(trashed(1, since="2h"),), unreadable=unreadable, used=99))

    assert steps_of(plan) == []


def test_expired_trash_says_how_long_it_lay():
    plan = plan_of(world(trash=(trashed(1, since="2h"),)))

    assert [r.text for r in plan.actions[0].reasons] == ["2 h in the trash; trash_for is 1 h"]


@pytest.mark.parametrize("used", [50, 99])
def test_what_no_record_knows_stays_in_the_trash(used):
    plan = plan_of(world(used=used, trash=(trashed(1, since="99d", known=False),)))

    assert plan.actions == ()


@pytest.mark.parametrize("used", [50, 99])
@pytest.mark.parametrize(
    ("complete", "purged"),
    [
        pytest.param([ck(1, age="4h")], False, id="older-complete"),
        pytest.param([ck(1, age="3h")], False, id="as-old"),
        pytest.param([ck(1, age="2h")], True, id="newer-complete"),
        pytest.param([ck(1, age="2h", health="unproven")], False, id="newer-unproven"),
        pytest.param([ck(1, age="2h", divergence=lost(1))], False, id="newer-diverged"),
        pytest.param(
            [ck(1, age="2h", divergence=lost(1, proven=False))], False, id="newer-may-have-diverged"
        ),
        pytest.param([ck(1, age="4h"), ck(3, age="-365d")], False, id="from-the-future"),
        pytest.param([], False, id="none"),
    ],
)
def test_a_wreck_with_whole_weights_goes_only_after_a_newer_complete_one(complete, purged, used):
    wreck = trashed(2, age="3h", since="2h", action="set_aside", weights_whole=True)

    plan = plan_of(world(run(*complete), used=used, trash=(wreck,)))

    assert ("purge checkpoint-2" in steps_of(plan)) is purged


def test_a_newer_complete_one_of_another_run_does_not_free_the_wreck():
    wreck = trashed(2, age="3h", since="2h", action="set_aside", weights_whole=True)
    other = run(ck(5, age="1h"), path="/data/b")

    assert plan_of(world(other, used=99, trash=(wreck,))).actions == ()


@pytest.mark.parametrize(
    ("complete", "weights_whole", "step"),
    [
        pytest.param([ck(1, age="4h")], True, "set_aside checkpoint-2", id="only-weights"),
        pytest.param(
            [ck(1, age="4h"), ck(3, age="-365d")], True, "set_aside checkpoint-2", id="future"
        ),
        pytest.param([ck(1, age="4h")], False, "set_aside checkpoint-2!", id="weights-cut-off"),
        pytest.param([ck(1, age="2h")], True, "set_aside checkpoint-2!", id="newer-complete"),
        pytest.param(
            [ck(1, age="2h", divergence=lost(1))], True, "set_aside checkpoint-2", id="diverged"
        ),
    ],
)
def test_a_wreck_in_its_run_is_unlinked_under_demand_only_where_a_newer_one_is_complete(
    complete, weights_whole, step
):
    there = run(ck(2, age="3h", health="broken", weights_whole=weights_whole), *complete)

    assert steps_of(plan_of(world(there, used=99)))[:1] == [step]


def test_a_wreck_that_stays_in_the_trash_counts_as_no_relief():
    there = run(ck(1, age="4h"), ck(2, age="3h", health="broken", weights_whole=True))

    assert need_of(plan_of(world(there, used=85))) == (5, 5)


# --- the marks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "relieving", "state", "gib"),
    [
        pytest.param(84.9, False, "ok", 0, id="below-high"),
        pytest.param(85, False, "high", 5, id="at-high"),
        pytest.param(82, False, "ok", 0, id="between-not-yet-begun"),
        pytest.param(82, True, "high", 2, id="between-still-relieving"),
        pytest.param(80, True, "ok", 0, id="at-low-it-ends"),
        pytest.param(95, False, "hard", 15, id="at-hard"),
        pytest.param(100, False, "hard", 20, id="full"),
        pytest.param(0, True, "ok", 0, id="empty"),
    ],
)
def test_demand_begins_at_high_and_ends_at_low(used, relieving, state, gib):
    need = demand(disk(used), Marks(), before=frozenset({"/data"} if relieving else ()))

    assert (need.state, need.demand / GIB) == (state, gib)


def test_demand_goes_on_from_one_plan_to_the_next():
    first = plan_of(world(run(*series(1, 2, 3)), used=86), THIN)
    assert first.relieving == {"/data"}

    second = plan_of(world(run(*series(2, 3)), used=84), THIN, before=first.relieving)

    assert need_of(second) == (4, 3)


@pytest.mark.parametrize(
    ("marks", "used", "gib"),
    [
        pytest.param(Marks(high=90 * GIB, low=70 * GIB), 90, 20, id="bytes"),
        pytest.param(Marks(high=90 * GIB, low=70 * GIB), 89, 0, id="bytes-below"),
        pytest.param(Marks(max_headroom=3 * GIB), 96, 0, id="headroom-bounds-high"),
        pytest.param(Marks(max_headroom=3 * GIB), 97, 1, id="headroom-bounds-low-in-proportion"),
        pytest.param(Marks(high=Share(100), low=Share(100)), 100, 0, id="all-is-no-mark"),
        pytest.param(Marks(high=Share(100), low=Share(90)), 99.9, 0, id="only-when-full"),
        pytest.param(Marks(high=80 * GIB, low=90 * GIB), 85, 5, id="low-is-never-above-high"),
    ],
)
def test_marks_in_bytes_and_with_little_headroom(marks, used, gib):
    assert demand(disk(used), marks).demand / GIB == gib


def test_a_size_for_high_leaves_the_others_their_headroom():
    large = disk(99.05, total=100_000 * GIB)
    need = demand(large, Marks(high=99_000 * GIB))
    assert (need.state, need.demand / GIB) == ("high", 50)


@pytest.mark.parametrize(
    ("place", "high"),
    [("/data/a", 50), ("/data", 50), ("/data/b", 85), ("/", 85), ("/data/aa", 85)],
)
def test_marks_are_those_of_the_watch_or_the_nearest_place_above_it_on_its_mount(place, high):
    policies = Policies(by_filesystem={place: Marks(high=Share(50))})
    assert policies.marks_of(disk(path="/data/a", mount="/data")).high == Share(high)


def test_a_filesystem_that_tells_no_size_asks_for_nothing():
    need = demand(disk(0, total=0), Marks())

    assert (need.state, need.demand) == ("ok", 0)


def test_each_filesystem_has_its_own_marks():
    plan = plan_of(
        world(run(*series(1, 2)), used=60),
        THIN,
        by_filesystem={"/data": Marks(Share(55), Share(50))},
    )

    assert need_of(plan) == (10, 9)


# --- the moment --------------------------------------------------------------------------


def test_only_the_moment_that_was_handed_in_counts():
    trash = (trashed(1, since="10min"),)

    later = plan_of(world(trash=trash), now=NOW + timedelta(hours=1))

    assert steps_of(plan_of(world(trash=trash))) == []
    assert steps_of(later) == ["purge checkpoint-1"]


def test_a_soft_one_whose_bytes_others_keep_is_not_taken_in_vain():
    saves = [ck(step, age=3600 - step) for step in (1, 2, 3, 4, 5)]
    linked = replace(saves[0], shared=saves[0].bytes)
    plan = plan_of(world(run(linked, *saves[1:]), used=85.5))

    assert verdict_on(plan, "checkpoint-1").action == "keep"
    assert verdict_on(plan, "checkpoint-2").action == "evict"
