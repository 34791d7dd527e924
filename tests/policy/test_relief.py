"""Which of the soft ones go first."""

from dataclasses import replace

import pytest
from builders import GIB, NOW, ck, lost, plan_of, run, saves_of, series, world
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.model import ActionKind
from ckptd.policy import KeepLast, Policy, judge_run
from ckptd.policy.relief import ranked, replay_seconds
from ckptd.policy.rhythm import rhythm

SOFT = Policy(rules=(KeepLast(None),), firm=(KeepLast(1),))


def order(*runs, **options):
    judged = [judge_run(each, SOFT, NOW, demand=True) for each in runs]
    return [c.checkpoint.path.removeprefix("/data/") for c in ranked(judged, **options)]


def steps(*runs, **options):
    return [int(path.rpartition("-")[2]) for path in order(*runs, **options)]


def test_every_other_one_goes_first_then_every_other_of_what_is_left():
    assert steps(run(*series(*range(1, 9)))) == [1, 3, 5, 7, 2, 6, 4]


def test_by_training_time_not_by_the_clock():
    # Between 2 and 3 nothing ran for a night.
    there = run(
        *[ck(s, age=age) for s, age in [(1, 40_000), (2, 39_940), (3, 120), (4, 60), (5, 0)]]
    )
    assert steps(there) == [1, 3, 2, 4]


def test_large_ones_go_before_small_ones_of_the_same_cost():
    small, large = series(1, 2, 3), [replace(c, bytes=9 * GIB) for c in series(1, 2, 3)]
    runs = (run(*small, path="/data/s"), run(*large, path="/data/l"))
    assert order(*runs)[:2] == ["l/checkpoint-1", "l/checkpoint-2"]


def test_of_a_slow_training_less_goes_than_of_a_quick_one():
    slow, quick = series(1, 2, 3, every="1h"), series(1, 2, 3, every="1min")
    assert order(run(*slow, path="/data/s"), run(*quick, path="/data/q"))[:2] == [
        "q/checkpoint-1",
        "q/checkpoint-2",
    ]


def test_what_diverged_goes_first_and_is_nothing_to_go_back_to():
    saves = series(1, 2, 3, 4, 5, 6)
    there = run(*[replace(c, divergence=lost(3)) if c.step in (3, 4) else c for c in saves])
    # Without 5 whoever goes back goes back to 2, over the two that diverged.
    assert steps(there) == [3, 4, 1, 2, 5]
    judged = judge_run(there, SOFT, NOW, demand=True)
    costs = {c.checkpoint.step: c.replay for c in ranked([judged])}
    assert costs == {3: 0, 4: 0, 1: 60, 2: 120, 5: 300}


def test_what_may_have_diverged_goes_in_its_turn():
    there = run(*[replace(c, divergence=lost(3, proven=False)) for c in series(1, 2, 3)])
    assert steps(there) == steps(run(*series(1, 2, 3)))


def test_what_diverged_in_a_live_run_waits_for_finished_ones():
    old = run(*series(1, 2, 3), path="/data/old", finished=True)
    ill = run(*[replace(c, divergence=lost(1)) for c in series(1, 2, 3)], path="/data/ill")
    assert [path.partition("/")[0] for path in order(ill, old)] == ["old", "old", "ill", "ill"]


def test_finished_runs_go_before_live_ones_whatever_it_costs():
    old = run(*series(1, 2, 3, every="9h"), path="/data/old", finished=True)
    quick = run(*series(1, 2, 3), path="/data/q")
    assert [path.partition("/")[0] for path in order(quick, old)] == ["old", "old", "q", "q"]


def test_of_inodes_those_with_many_files_go_first():
    few, many = series(1, 2, 3), [replace(c, inodes=500) for c in series(1, 2, 3)]
    runs = (run(*few, path="/data/f"), run(*many, path="/data/m"))
    assert [path[0] for path in order(*runs, inodes=True)] == ["m", "m", "f", "f"]


def test_what_hard_links_keep_elsewhere_is_left_out():
    there = [replace(c, shared=c.bytes) for c in series(1, 2, 3)]
    assert order(run(*there)) == []


@pytest.mark.parametrize(
    ("earlier", "later", "seconds"),
    [
        pytest.param(ck(100, age=600), ck(150, age=0), 600, id="steps times their pace"),
        pytest.param(ck(100, age=60_000), ck(150, age=0), 600, id="whatever the clock says"),
        pytest.param(None, ck(100), 1200, id="from the beginning"),
        pytest.param(ck(None, age=700), ck(None, age=0), 700, id="no steps: the clock"),
        pytest.param(ck(900, age=300), ck(50, age=0), 300, id="begun anew: the clock"),
        pytest.param(ck(5, age=0), ck(None, age=300), 0, id="never less than nothing"),
    ],
)
def test_replay_is_the_training_between(earlier, later, seconds):
    pace = rhythm(saves_of([ck(50, age=1200), ck(100, age=600), ck(150, age=0)]))
    assert replay_seconds(earlier, later, pace) == pytest.approx(seconds)


def test_what_nobody_can_tell_is_dear():
    assert replay_seconds(None, ck(100), None) == float("inf")


@settings(derandomize=True, max_examples=100, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), min_size=1, max_size=12))
def test_each_soft_one_is_ranked_once(saves):
    there = run(
        *[
            ck(step, age=60 * (len(saves) - n), bytes=size * GIB, name=f"checkpoint-{n}")
            for n, (step, size) in enumerate(saves)
        ]
    )
    judged = judge_run(there, SOFT, NOW, demand=True)
    soft = {v.checkpoint.path for v in judged.verdicts if v.standing == "soft"}
    found = [c.checkpoint.path for c in ranked([judged])]
    assert sorted(found) == sorted(soft)


# --- max_size ----------------------------------------------------------------------------


def sized(*gib, **policy):
    there = run(
        *[
            replace(c, bytes=g * GIB)
            for c, g in zip(series(*range(1, len(gib) + 1)), gib, strict=True)
        ]
    )
    return plan_of(world(there), replace(SOFT, **policy))


def test_a_run_beyond_its_max_size_lets_go_of_the_cheapest():
    plan = sized(1, 1, 1, 1, max_size=2 * GIB)
    assert [(a.path[-1], a.purge_now, a.pressed) for a in plan.actions] == [
        ("1", False, False),
        ("3", False, False),
    ]
    assert plan.actions[0].reasons[0].text == (
        "its run holds 4.0 GiB, and max_size is 2.0 GiB; costs 1 min of replay"
    )


def test_what_is_firm_may_be_larger_than_max_size():
    plan = sized(1, 1, 5, max_size=2 * GIB)
    assert [a.path[-1] for a in plan.actions] == ["1", "2"]
    assert [v.action for v in plan.verdicts][-1] is ActionKind.KEEP


def test_a_run_within_its_max_size_loses_nothing():
    assert sized(1, 1, 1, max_size=3 * GIB).actions == ()


def old_and_live(old, size=2**20):
    """So many small finished runs with a soft save each, and a live one with large saves."""
    small = [
        run(*[replace(c, bytes=size) for c in series(1, 2)], path=f"/data/old{n}", finished=True)
        for n in range(old)
    ]
    return [*small, run(*series(1, 2, 3, every="2h"), path="/data/live", live=True)]


@pytest.mark.parametrize(("old", "first"), [(10, "/data/old"), (300, "/data/live")])
def test_hundreds_of_small_ones_are_not_waited_for_where_time_is_short(old, first):
    plan = plan_of(world(*old_and_live(old), used=81.2), SOFT, before={"/data"})

    assert plan.filesystems[0].urgent
    assert plan.actions[0].path.startswith(first)
    gone = {step.run.path for step in plan.actions}
    assert len(gone) == old + 1, "all finished ones are chosen before a live one"
