"""What else than a disk can be full, what stands in the way, and how fast others fill it."""

import os
import time
from dataclasses import replace

import pytest
from builders import GIB, NOW, ck, disk, run, series, world
from checked import mounted
from corpus import write_checkpoint
from house import ckptd, planned

from ckptd import scan
from ckptd.model import Plan, Relief, Use
from ckptd.observe.memory import Trend
from ckptd.observe.obstacles import Obstacles
from ckptd.policy import KeepLast, Policy, judge_run

MIB = 2**20
MARKS = {"disk__high": "85%", "disk__low": "80%", "disk__hard": "95%"}


def write_run(place, count=4, size=MIB):
    for nth in range(1, count + 1):
        write_checkpoint(place, nth, size=size, mtime=time.time() - 600 * (count - nth))
    return place


def limited(daemon):
    (need,) = [need for need in planned(daemon).filesystems if need.filesystem.limit]
    return need


# --- capacity ----------------------------------------------------------------------------


def configured(tmp_path, capacity, watch):
    file = tmp_path / "ckptd.toml"
    file.write_text(f'[[watch]]\npath = "{watch}"\nadopt = "all"\ncapacity = "{capacity}"\n')
    return file


def test_a_watch_with_a_capacity_is_relieved_within_it(tmp_path):
    write_run(tmp_path / "data" / "out", 6)
    (tmp_path / "data" / "dataset.bin").write_bytes(bytes(5 * MIB))
    each = scan.weigh(str(tmp_path / "data" / "out" / "checkpoint-1"))
    total = scan.weigh(str(tmp_path / "data"))
    file = configured(tmp_path, f"{total + each}B", tmp_path / "data")
    options = {"disk__high": "80%", "disk__low": "70%", "disk__hard": "95%"}
    with ckptd(tmp_path / "state", config_file=file, **options) as daemon:
        need = limited(daemon)
        assert need.filesystem.used == pytest.approx(total, rel=0.02)
        assert need.filesystem.name == f"{tmp_path / 'data'} (capacity)"
        assert need.demand > 0
        daemon.settle(time.monotonic() + 5)
        assert limited(daemon).demand == 0
    left = sorted(p.name for p in (tmp_path / "data" / "out").iterdir())
    assert left[-2:] == ["checkpoint-5", "checkpoint-6"]
    assert len(left) < 6


def test_what_is_beyond_the_capacity_must_go_as_well(tmp_path):
    write_run(tmp_path / "data" / "out", 8)
    held = scan.weigh(str(tmp_path / "data"))
    file = configured(tmp_path, f"{held // 2}B", tmp_path / "data")
    with ckptd(tmp_path / "state", config_file=file, **MARKS) as daemon:
        need = limited(daemon)
        assert need.filesystem.used_percent == pytest.approx(200, rel=0.02)
        assert need.demand == pytest.approx(held - 0.8 * held / 2, rel=0.02)
        daemon.settle(time.monotonic() + 5)
        assert limited(daemon).demand == 0


def test_runs_of_a_watch_within_count_as_what_they_are(tmp_path):
    outer = tmp_path / "data"
    write_run(outer / "out", 2)
    write_run(outer / "mine" / "out", 6)
    held = scan.weigh(str(outer))
    file = configured(tmp_path, f"{held}B", outer)
    file.write_text(f'{file.read_text()}[[watch]]\npath = "{outer / "mine"}"\nadopt = "all"\n')
    with ckptd(tmp_path / "state", config_file=file, **MARKS) as daemon:
        need = limited(daemon)
        assert need.demand == pytest.approx(0.2 * held, rel=0.05)
        assert need.shortfall == 0
        daemon.settle(time.monotonic() + 5)
        assert limited(daemon).demand == 0
    assert len(list((outer / "mine" / "out").iterdir())) < 6


@pytest.mark.root
def test_what_others_write_below_a_capacity_is_weighed_when_the_disk_tells(tmp_path):
    with mounted(tmp_path / "disk", "size=256m") as place:
        write_run(place / "data" / "out", 2)
        with ckptd(
            tmp_path / "state", config_file=configured(tmp_path, "64MiB", place / "data")
        ) as daemon:
            before = limited(daemon).filesystem.used
            (place / "data" / "cache.bin").write_bytes(bytes(16 * MIB))
            time.sleep(0.1)  # it takes some weighing to weigh again
            after = limited(daemon).filesystem
            assert after.used - before == pytest.approx(16 * MIB, rel=0.02)


# --- others ------------------------------------------------------------------------------


def test_a_trend_needs_three_moments_and_some_time():
    trend = Trend(window=60, apart=1, least=2)
    assert [trend.pace(t, 10 * t) for t in (0, 1, 1.5, 2)] == [0, 0, 0, 0]
    # What the look before knew, over the whole time, but for the quickest step.
    assert trend.pace(30, 300) == pytest.approx(10 / 29)
    assert trend.pace(31, 310) == pytest.approx(290 / 30)


def test_one_jump_is_no_trend_and_two_are():
    trend = Trend(window=60, apart=1, least=2)
    sizes = [0, 0, 0, 500, *[500] * 5, 900, *[900] * 5]
    paces = [trend.pace(t, size) for t, size in enumerate(sizes)]
    assert paces[:10] == [0] * 10
    assert paces[-1] == pytest.approx(400 / 13)


def test_a_long_step_at_the_pace_of_the_others_counts():
    trend = Trend(window=60, apart=0.2, least=0.4)
    paces = [trend.pace(t, int(5 * MIB * t)) for t in (0, 30, 30.2, 30.4, 30.6)]
    assert paces[-1] == pytest.approx(5 * MIB, rel=0.1)


def test_a_spike_of_one_look_is_no_trend():
    trend = Trend(window=60, apart=1, least=2)
    for t in range(10):
        trend.pace(t, 100)
    assert trend.pace(10, 10**9) == 0
    assert trend.pace(11, 100) == 0


def test_what_is_long_ago_is_forgotten():
    trend = Trend(window=10, apart=1, least=2)
    trend.pace(0, 0)
    for t in range(20, 30):
        trend.pace(t, 1000)
    assert trend.pace(30, 1000) == 0


@pytest.mark.root
def test_what_others_write_is_seen_and_what_runs_save_is_not_theirs(tmp_path):
    with mounted(tmp_path / "disk", "size=256m") as disk_of_its_own:
        run_ = write_run(disk_of_its_own / "out", 1)
        with ckptd(tmp_path / "state", disk_of_its_own) as daemon:
            for nth in range(2, 6):
                write_checkpoint(run_, nth, size=8 * MIB)
                (seen,) = daemon.eyes.look(users=False).world.filesystems
                time.sleep(0.25)
            assert seen.writes < MIB, "the saves are 24 MiB a second"
            for nth in range(4):
                (disk_of_its_own / f"data.{nth}").write_bytes(bytes(8 * MIB))
                (seen,) = daemon.eyes.look(users=False).world.filesystems
                time.sleep(0.25)
            assert seen.writes > 4 * MIB


# --- in the way --------------------------------------------------------------------------


def named(tmp_path, *runs, shortfall=GIB, filesystems=None):
    firm = Policy(rules=(KeepLast(2),), firm=(KeepLast(2),))
    need = Relief(disk(path=str(tmp_path)), shortfall=shortfall)
    judged = tuple(judge_run(each, firm, NOW, demand=True) for each in runs)
    plan = Plan(NOW, runs=judged, filesystems=(need,))
    found = Obstacles().named_in(plan, world(*runs), 0.0, lambda: None)
    return [(o.path, o.bytes, o.what) for o in found.filesystems[0].in_the_way]


def placed(tmp_path, *checkpoints, **fields):
    path = f"{tmp_path}/a/out"
    found = run(*checkpoints, path=path, watch=str(tmp_path), filesystem=str(tmp_path), **fields)
    return replace(found, uid=2**31, device=os.stat(tmp_path).st_dev)


def test_a_shortfall_names_the_largest_things_ours_or_not(tmp_path):
    (tmp_path / "a" / "out" / "checkpoint-1").mkdir(parents=True)
    (tmp_path / "a" / "out" / "merged").mkdir()
    (tmp_path / "a" / "out" / "merged" / "model.safetensors").write_bytes(bytes(3 * MIB))
    (tmp_path / "data.bin").write_bytes(bytes(5 * MIB // 2))
    (tmp_path / "small.txt").write_bytes(b"x")
    there = placed(tmp_path, *[replace(c, bytes=MIB) for c in series(1, 2, 3)])
    found = named(tmp_path, there, shortfall=4 * MIB)
    assert [(path.removeprefix(f"{tmp_path}/"), what) for path, _, what in found] == [
        ("a/out/merged", "no checkpoint that ckptd knows"),
        ("data.bin", "no checkpoint that ckptd knows"),
        ("a/out", "2 checkpoints, kept even under pressure"),
    ]
    assert found[0][1] == pytest.approx(3 * MIB, rel=0.05)


def test_what_a_person_can_do_something_about_is_told(tmp_path):
    (tmp_path / "a" / "out").mkdir(parents=True)
    reading = (Use("open", 7, "python"),)
    there = placed(
        tmp_path,
        *[replace(c, pinned=True) for c in series(1, 2)],
        ck(3, age=240, uses=reading),
        ck(4, age=180, health="unproven"),
        *(ck(step, age=step) for step in (6, 5)),
    )
    ((_, size, what),) = named(tmp_path, there)
    assert what == "6 checkpoints, kept even under pressure: 1 in use, 1 not whole, 2 pinned"
    assert size == 6 * GIB


def test_runs_that_are_not_adopted_are_named(tmp_path):
    (tmp_path / "a" / "out").mkdir(parents=True)
    there = placed(tmp_path, *series(1, 2, 3), adopted=False)
    assert named(tmp_path, there) == [(there.path, 3 * GIB, "3 checkpoints, not adopted")]


def test_without_a_shortfall_nothing_is_weighed(tmp_path):
    there = placed(tmp_path, ck(1))
    assert named(tmp_path, there, shortfall=0) == []
