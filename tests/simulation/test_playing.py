"""What a simulation says, where it can be reckoned by hand."""

from dataclasses import replace
from datetime import timedelta

import pytest
from builders import GIB, NOW, ck, disk, run, series, trashed, world
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import policies, worlds

from ckptd.policy import KeepLast, Levels, Marks, Policies, Policy, plan
from ckptd.simulation import ByPolicy, ByTrainer, Nobody, courses, invented, play
from ckptd.units import Share

HOUR = 3600.0
KEEP = {count: Policy(rules=(KeepLast(count),), firm=(KeepLast(count),)) for count in (1, 2, 3)}


def thought_up(keeper, *, total=10, used=0, save=1, hours=24, runs=1, every=HOUR):
    there, ways = invented(
        total * GIB, used * GIB, save=int(save * GIB), every=every, runs=runs, now=NOW
    )
    return play(there, ways, keeper, hours * HOUR, NOW)


def by(policy, **more):
    return ByPolicy(Policies(default=policy, **more))


def in_gib(played):
    return [(at / HOUR, used / GIB) for at, used in played.curves[0].points if at % HOUR == 0]


# --- by hand -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keeper", "full", "kept", "let_go", "peak"),
    [
        # 10 GiB hold ten saves of 1 GiB; the eleventh, after 11 h, finds no room.
        pytest.param(Nobody(), 11, 10, 0, 10, id="nobody"),
        pytest.param(ByTrainer(3), None, 3, 21, 4, id="the trainer rotates after the save"),
        pytest.param(ByTrainer(9), None, 9, 15, 10, id="ten at once just fit"),
        pytest.param(ByTrainer(10), 11, 10, 0, 10, id="eleven do not"),
        # Two hours in the trash are two saves more, and that of this moment.
        pytest.param(by(replace(KEEP[3], trash_for=2 * HOUR)), None, 3, 21, 6, id="with a trash"),
        pytest.param(by(replace(KEEP[3], trash_for=0.0)), None, 3, 21, 4, id="without one"),
        # Room for two more saves is made in time, above which nothing is let go.
        pytest.param(by(Policy(), marks=Marks(high=Share(100))), None, 8, 16, 9, id="by default"),
    ],
)
def test_a_day_of_a_save_an_hour_on_ten_of_them(keeper, full, kept, let_go, peak):
    played = thought_up(keeper)
    assert played.full_in_seconds == (None if full is None else full * HOUR)
    assert (played.kept, played.let_go) == (kept, let_go)
    assert played.curves[0].peak == peak * GIB


def test_nobody_fills_a_disk_in_a_straight_line_and_stays_there():
    played = thought_up(Nobody(), total=4, hours=8)
    at_the_hour = dict(in_gib(played))
    assert [at_the_hour[hour] for hour in range(6)] == [0, 1, 2, 3, 4, 4]
    assert at_the_hour[8] == 4
    assert (played.saved, played.dead) == (4, ("/data/run-1",))


def test_what_is_used_at_the_start_is_not_there_for_saves():
    assert thought_up(Nobody(), used=8).full_in_seconds == 3 * HOUR


def test_a_save_that_does_not_fit_leaves_a_wreck_that_fills_the_disk():
    played = thought_up(Nobody(), total=2, save=0.75)
    assert (played.full_in_seconds, played.kept) == (3 * HOUR, 2)
    assert played.curves[0].points[-1][1] == 2 * GIB


def test_runs_take_turns_and_fill_it_together():
    played = thought_up(Nobody(), runs=4)
    assert played.saved == 10
    assert len(played.dead) == 4
    # The eleventh of them comes when each has made two and a half.
    assert played.full_in_seconds == pytest.approx(3.5 * HOUR)


@pytest.mark.parametrize(
    ("keeper", "mean", "most"),
    [
        pytest.param(Nobody(), 0.5, 1, id="each hour is there"),
        # One gap of 22 h and two of one hour: (22 * 22 + 1 + 1) / 2 / 24.
        pytest.param(ByTrainer(3), 10.125, 22, id="three of a day"),
    ],
)
def test_replay_is_what_lies_after_the_save_before(keeper, mean, most):
    played = thought_up(keeper, total=100)
    assert played.replay.mean / HOUR == pytest.approx(mean)
    assert played.replay.most / HOUR == pytest.approx(most)


def test_a_policy_spreads_what_it_keeps_and_a_trainer_does_not():
    ours = thought_up(by(Policy()), hours=96)
    theirs = thought_up(ByTrainer(ours.kept), hours=96)
    assert ours.full_in_seconds is None
    assert ours.replay.mean < theirs.replay.mean / 4


def test_a_disk_that_is_too_small_is_short_before_it_is_full():
    played = thought_up(by(KEEP[3]), total=3)
    assert played.full_in_seconds == 4 * HOUR
    assert played.short_in_seconds == 3 * HOUR


# --- what lies there ---------------------------------------------------------------------


def recorded(*checkpoints, used=50.0, **fields):
    return world(run(*checkpoints, **fields), used=used)


def test_a_run_goes_on_as_it_did():
    there = recorded(*series(50, 100, 150, every="20min"))
    (way,) = courses(there, NOW)
    assert (way.bytes, way.every, way.steps) == (GIB, 1200.0, 50)
    assert way.first_at == NOW.timestamp()
    played = play(there, [way], Nobody(), HOUR, NOW)
    assert (played.saved, played.kept) == (4, 7)


def test_runs_that_are_under_way_go_on_and_others_stay():
    going = run(*series(1, 2, 3, every="20min"), path="/data/going")
    old = run(*(replace(c, saved_at=c.saved_at - timedelta(days=9)) for c in series(1, 2, 3)))
    assert [way.path for way in courses(world(old, going), NOW)] == ["/data/going"]
    assert [way.path for way in courses(world(old), NOW)] == ["/data/a"]


def test_without_a_rhythm_nothing_goes_on():
    assert courses(recorded(ck(50, age=60)), NOW) == ()
    assert courses(world(), NOW) == ()


def test_a_save_that_is_open_is_the_next_one():
    open_one = ck(200, age=0, health="writing", bytes=GIB // 2)
    there = recorded(*series(50, 100, 150, every="20min"), open_one, live=True)
    ways = courses(there, NOW)
    played = play(there, ways, Nobody(), 60.0, NOW)
    assert (played.saved, played.kept) == (1, 4)
    assert played.curves[0].points[-1][1] == 50 * GIB + GIB // 2


def test_the_recorded_best_stays_and_a_trainer_rotates_round_it():
    saves = [replace(c, recorded_best="checkpoint-50") for c in series(50, 100, 150)]
    there = recorded(*saves, trainer_limit=2)
    played = play(there, courses(there, NOW), Nobody(), 600.0, NOW)
    assert played.kept == 2
    kept = play(there, courses(there, NOW), by(KEEP[1]), 600.0, NOW)
    assert kept.kept == 2  # the newest and the best


def test_what_lies_in_the_trash_expires_in_its_time():
    there = replace(recorded(*series(50, 100, every="40min")), trash=(trashed(1, since="10min"),))
    played = play(there, courses(there, NOW), by(Policy()), HOUR, NOW)
    used = dict(played.curves[0].points)
    before = max(at for at in used if at < 50 * 60)
    assert used[50 * 60] == used[before] - GIB


def test_a_run_that_nobody_goes_on_with_is_over_after_a_while():
    old = run(*series(1, 2, 3, every="1h"), path="/data/old")
    old = replace(old, saves=())
    going = run(*series(1, 2, 3, every="1h"), path="/data/going")
    there = world(old, going)
    finished = Policy(finished=Levels((KeepLast(1),), (KeepLast(1),)), finished_after=5 * HOUR)
    ways = [way for way in courses(there, NOW) if way.path == "/data/going"]
    for hours, kept in ((3, 3), (8, 1)):
        played = play(there, ways, by(finished), hours * HOUR, NOW)
        assert played.kept == kept + 3 + hours + 1


def test_others_that_write_fill_it_as_well():
    there = world(run(*series(50, 100, every="1h")), filesystems=[disk(50, grows=2 * GIB / HOUR)])
    played = play(there, courses(there, NOW), Nobody(), 10 * HOUR, NOW)
    assert played.curves[0].points[-1][1] == pytest.approx(81 * GIB, rel=0.001)


def test_a_quota_is_full_before_the_disk():
    limit = disk(90, total=10 * GIB, limit="quota of user 1000", runs=frozenset({"/data/a"}))
    there = world(run(*series(50, 100, every="1h")), filesystems=[disk(10), limit])
    played = play(there, courses(there, NOW), Nobody(), 10 * HOUR, NOW)
    assert played.full_in_seconds == HOUR
    assert [curve.peak for curve in played.curves] == [11 * GIB, 10 * GIB]


# --- laws --------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=60, deadline=None, database=None)
@given(worlds, policies, st.sampled_from([None, 1, 3]))
def test_any_world_can_be_played(there, policy, limit):
    keeper = by(policy) if limit is None else ByTrainer(limit)
    played = play(there, courses(there, NOW), keeper, 3 * HOUR, NOW)
    for curve in played.curves:
        times = [at for at, _ in curve.points]
        assert times == sorted(times)
        assert max(used for _, used in curve.points) <= max(
            curve.filesystem.used, curve.filesystem.used + curve.filesystem.free
        )


def test_what_is_played_is_what_the_planner_plans():
    there = recorded(*series(1, 2, 3, 4, 5), used=97)
    decided = plan(there, Policies(), frozenset(), NOW)
    ways = [replace(courses(there, NOW)[0], first_at=(NOW + timedelta(days=1)).timestamp())]
    played = play(there, ways, by(Policy()), 1.0, NOW)
    assert decided.actions
    assert played.let_go == len(decided.actions)
