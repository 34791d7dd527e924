"""How much room the next saves need, before they come."""

from dataclasses import replace
from math import inf

import pytest
from builders import GIB, NOW, ago, ck, disk, plan_of, run, series, verdict_on, world

from ckptd.model import ActionKind, Saved
from ckptd.policy import KeepLast, Marks, Policies, Policy
from ckptd.policy.foresight import Reserve, full_in, growths, is_under_way, reserve, stuck_growths
from ckptd.policy.rhythm import rhythm
from ckptd.units import Share

MINUTE = 60


def past(*gib, every=10 * MINUTE, last=0):
    """Saves of these sizes, *every* seconds apart, the last one *last* seconds ago."""
    count = len(gib)
    return tuple(
        Saved(
            f"checkpoint-{n}", 50 * n, int(size * GIB), ago(last).timestamp() - every * (count - n)
        )
        for n, size in enumerate(gib, start=1)
    )


def in_gib(filesystem, *runs):
    wanted = reserve(filesystem, runs, NOW)
    return wanted.coming / GIB, wanted.margin / GIB


@pytest.mark.parametrize(
    ("there", "coming", "margin"),
    [
        pytest.param(run(saves=past(4, 4, 4)), 4, 4, id="the next save, and as much again"),
        pytest.param(run(saves=past(4)), 4, 4, id="after the first"),
        pytest.param(run(saves=past(4, last=7 * 3600)), 0, 0, id="a first save of long ago"),
        pytest.param(
            run(saves=past(4, last=7 * 3600), live=True), 4, 4, id="but its trainer lives"
        ),
        pytest.param(run(saves=past(4, 4, last=31 * MINUTE)), 0, 0, id="three intervals overdue"),
        pytest.param(run(saves=past(4, 4, last=29 * MINUTE)), 4, 4, id="not yet overdue"),
        pytest.param(run(saves=past(4, 4, every=0)), 0, 0, id="copied in one go"),
        pytest.param(run(saves=past(1, 1, 8)), 8, 8, id="a change of family: the newest counts"),
        pytest.param(run(saves=past(4, 4, every=0.9)), 12, 4, id="three before one can react"),
        pytest.param(run(saves=past(0.5, 0.5, every=0.001)), 4, 0.5, id="but not thousands"),
        pytest.param(run(saves=past(9, 9, every=0.1)), 18, 9, id="nor more than a disk can take"),
        pytest.param(run(), 0, 0, id="nothing is known"),
        pytest.param(run(saves=past(4, 4), adopted=False), 4, 4, id="others' runs fill it as well"),
    ],
)
def test_the_reserve_is_what_may_land_before_room_is_made(there, coming, margin):
    assert in_gib(disk(), there) == (coming, margin)


@pytest.mark.parametrize(
    ("written", "coming", "margin"),
    [
        pytest.param(1, 3, 4, id="the rest of it"),
        pytest.param(4, 0, 4, id="as large as the last, and not closed yet"),
        pytest.param(5, 5, 5, id="larger than the last: nobody knows its end"),
        pytest.param(9, 9, 9, id="it may double once more"),
    ],
)
def test_an_open_save_needs_what_is_left_of_it(written, coming, margin):
    there = run(ck(150, health="writing", bytes=written * GIB), saves=past(4, 4))
    assert in_gib(disk(), there) == (coming, margin)


def test_an_open_first_save_may_double():
    assert in_gib(disk(), run(ck(50, health="writing", bytes=2 * GIB))) == (2, 2)


def test_runs_and_others_add_up():
    runs = (run(saves=past(4, 4)), run(saves=past(1, 1), path="/data/b"))
    assert in_gib(disk(writes=GIB / 10), *runs) == (6, 6)


def test_where_directories_are_polled_more_lands_unseen():
    there = run(saves=past(4, 4, every=3))
    assert in_gib(disk(shared=True), there) == (16, 4)


def test_a_reserve_that_lacks_is_demanded_below_every_mark():
    there = run(*series(1, 2, 3, 4, 5, every="10min"))
    plan = plan_of(world(there, filesystems=(disk(70, total=5 * GIB),)))
    (need,) = plan.filesystems
    assert (need.state, need.reserve / GIB, need.coming / GIB) == ("ok", 2, 1)
    assert need.demand == need.reserve - need.filesystem.free
    assert (need.urgent, need.shortfall) == (False, 0)
    (step,) = plan.actions
    assert (step.path, step.purge_now, step.urgent) == ("/data/a/checkpoint-1", True, False)
    assert "must gain 512 MiB for the next saves (2.0 GiB)" in step.reasons[0].text


def test_only_what_is_expected_breaks_the_calm():
    there = run(*series(1, 2, 3, 4, 5, every="10min"), calm=1.5)
    for percent, wait in ((70, 1.5), (82, 0.0)):
        plan = plan_of(
            world(there, filesystems=(disk(percent, total=5 * GIB),)), marks=Marks(high=10 * GIB)
        )
        assert {step.wait for step in plan.actions} == {wait}


def test_only_what_is_expected_makes_a_shortfall():
    there = run(*series(1, 2, every="10min"))
    firm = Policy(rules=(KeepLast(2),), firm=(KeepLast(2),))
    for percent, short in ((75, 0), (90, 0.5)):
        filesystems = (disk(percent, total=5 * GIB),)
        (need,) = plan_of(
            world(there, filesystems=filesystems), firm, marks=Marks(high=10 * GIB)
        ).filesystems
        assert need.shortfall / GIB == pytest.approx(short)


def test_a_reserve_of_ones_own_is_what_is_demanded():
    there = run(*series(1, 2, 3, every="10min"))
    (need,) = plan_of(world(there, used=50), marks=Marks(reserve=60 * GIB)).filesystems
    assert (need.reserve, need.demand) == (60 * GIB, 10 * GIB)


def test_inodes_are_demanded_as_bytes_are():
    saves = [replace(c, inodes=100) for c in series(1, 2, 3, 4, 5, every="10min")]
    few = disk(10, inodes_total=1000, inodes_free=50)
    plan = plan_of(world(run(*saves), filesystems=(few,)))
    (need,) = plan.filesystems
    # 800 may be used and 950 are: 150; 200 are for the next saves and 50 are free: 150 as well.
    assert (need.demand, need.inodes, need.inodes_shortfall, need.state) == (0, 150, 0, "high")
    assert [step.path[-1] for step in plan.actions] == ["1", "3"]


def test_a_reserve_or_inodes_demand_of_the_bytes_nothing_more():
    """Between the marks: what only a reserve or inodes ask for is not to go on until `low`."""
    there = run(*[replace(c, inodes=9) for c in series(1, 2, 3, 4, 5, every="10min")])
    short = disk(70, total=5 * GIB)
    marks = Marks(high=Share(85), low=Share(60))
    by_reserve = plan_of(world(there, filesystems=(short,)), marks=marks)
    assert by_reserve.filesystems[0].pressed
    assert by_reserve.relieving == frozenset()
    few = disk(82, inodes_total=1000, inodes_free=150)
    by_inodes = plan_of(world(there, filesystems=(few,)))
    assert by_inodes.relieving == {"/data: inodes"}
    again = plan_of(world(there, filesystems=(few,)), before=by_inodes.relieving)
    assert (again.filesystems[0].demand, again.filesystems[0].inodes) == (0, 50)


def test_what_bounds_a_part_of_the_runs_takes_of_these_alone():
    runs = (run(*series(1, 2, 3), path="/data/a"), run(*series(1, 2, 3), path="/data/b"))
    quota = disk(99, total=4 * GIB, limit="quota of user 7", runs=frozenset({"/data/b"}))
    thin = Policy(rules=(KeepLast(None),), firm=(KeepLast(1),))
    plan = plan_of(world(*runs, filesystems=(disk(50), quota)), thin)
    assert {step.path.rpartition("/")[0] for step in plan.actions} == {"/data/b"}
    assert {step.filesystem for step in plan.actions} == {"/data (quota of user 7)"}
    assert plan.relieving == {"/data (quota of user 7)"}


def test_a_step_that_relieves_two_is_taken_once():
    there = run(*series(1, 2, 3, 4))
    capacity = disk(99, total=5 * GIB, limit="capacity", runs=frozenset({there.path}))
    thin = Policy(rules=(KeepLast(None),), firm=(KeepLast(1),))
    plan = plan_of(world(there, filesystems=(disk(99), capacity)), thin)
    assert len({step.path for step in plan.actions}) == len(plan.actions) == 3


# --- under way, and full -----------------------------------------------------------------


def test_a_run_is_under_way_as_long_as_its_next_save_is_not_overdue():
    saves = past(4, 4, last=5 * MINUTE)
    assert is_under_way(run(saves=saves), rhythm(saves), NOW.timestamp())
    assert not is_under_way(run(saves=saves), rhythm(saves), NOW.timestamp() + 3600)


def test_what_grows_counts_others_and_stops_where_a_trainer_rotates():
    runs = (
        run(saves=past(6, 6)),
        run(*series(1), saves=past(6, 6), trainer_limit=2, path="/data/b"),
    )
    found = list(growths(disk(grows=5.0), runs, NOW))
    assert found == [(6 * GIB / 600, inf), (6 * GIB / 600, 2 * 6 * GIB), (5.0, inf)]


def test_only_what_nobody_may_let_go_of_fills_a_disk_in_the_end():
    runs = (
        run(saves=past(6, 6)),
        run(saves=past(6, 6), adopted=False, path="/data/b"),
        run(saves=past(6, 6), path="/data/c"),
    )
    firm = Policy(rules=(KeepLast(None),), firm=(KeepLast(None),))
    policies = Policies(by_run={"/data/c": firm})
    found = list(stuck_growths(disk(), runs, policies, NOW))
    assert full_in(12 * GIB, found) == pytest.approx(600)


def test_the_plan_says_when_it_is_full_and_when_although_all_went():
    mine = run(*series(*range(1, 11), every="10min"))
    wild = run(*series(1, 2, every="10min"), path="/data/b", adopted=False)
    (need,) = plan_of(world(mine, wild, used=70)).filesystems
    assert need.full_in_seconds == pytest.approx(30 * GIB / (2 * GIB / 600))
    # 30 free, 8 soft ones of 1 GiB, 2 expected: 36 GiB, and 1 GiB in ten minutes by the other.
    assert need.spent_in_seconds == pytest.approx(36 * 600)


def test_nothing_is_reserved_for_nothing():
    assert Reserve().bytes == 0
    assert verdict_on(plan_of(world(run(*series(1, 2)))), "checkpoint-1").action is ActionKind.KEEP
