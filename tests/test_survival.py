"""The bench `tests/bench/survival`: that it counts right and cleans up, and its quick scenarios."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench.survival.cast import MIB, Cast, Neighbour, Old, Reader, Save, Training
from bench.survival.condition import worst_need
from bench.survival.contenders import Contender
from bench.survival.filesystems import Room
from bench.survival.scenarios import SCENARIOS, steady
from bench.survival.scoring import score
from bench.survival.stage import Performance, Sight
from bench.survival.wholeness import is_whole
from corpus import cut, write_checkpoint

BENCH = Path(__file__).parent / "bench" / "survival"
ROOM = Room(100 * MIB, 0)
needs_mounts = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts small filesystems"),
    pytest.mark.skipif(shutil.which("mkfs.xfs") is None, reason="needs mkfs.xfs"),
]


def training(count, **fields):
    saves = tuple(Save(1.0, 10 * MIB, loss=1.0) for _ in range(count))
    return Training("a", saves, **fields)


def saved(step, at, loss=1.0):
    return {"event": "saved", "step": step, "at": at, "loss": loss, "bytes": 10 * MIB, "inodes": 9}


def note(event, at, **fields):
    return {"event": event, "at": at, **fields}


def played(cast, notes, *, lying=None, whole=None, others=(), firm=2):
    """A performance that ended at 100 s; *lying* at 99 s and *whole* at the end: all that saved."""
    steps = {n["step"] for n in notes if n["event"] == "saved"}
    names = {f"checkpoint-{step}" for step in steps}
    return Performance(
        cast,
        Contender("ckptd", firm=firm, judged=True),
        ROOM,
        notes={"a": notes},
        others=list(others),
        sights=[Sight(99.0, 99.1, {"a": frozenset(names if lying is None else lying)}, 0.5)],
        whole={"a": frozenset(names if whole is None else whole)},
    )


# --- the condition -----------------------------------------------------------------------------


def test_the_firm_ones_and_the_next_save_and_5_percent_are_needed():
    notes = [saved(10, 1, loss=0.1), saved(20, 2), saved(30, 3), saved(40, 4)]
    # The newest two, the best, and the fifth.
    assert worst_need(played(Cast((training(5),)), notes)) == pytest.approx(0.45, abs=0.01)
    assert worst_need(played(Cast((training(5),)), notes, firm=1)) == pytest.approx(0.35, abs=0.01)


def test_a_trainer_that_has_ended_or_died_needs_no_next_save():
    # Before its last save it needed three and the one to come.
    notes = [saved(10, 1), saved(20, 2)]
    assert worst_need(played(Cast((training(2),)), notes)) == pytest.approx(0.25, abs=0.01)
    died = [saved(10, 1), note("enospc", 2, step=20)]
    assert worst_need(played(Cast((training(9),)), died)) == pytest.approx(0.25, abs=0.01)


def test_what_others_fill_or_hold_is_needed_as_well():
    notes = [saved(10, 1, loss=0.1), saved(20, 2), saved(30, 3), saved(40, 4)]
    neighbour = Cast((training(5),), neighbour=Neighbour(50 * MIB, MIB))
    filled = [note("filled", 3.5, bytes=20 * MIB), note("filled", 200, bytes=50 * MIB)]
    need = worst_need(played(neighbour, notes, others=filled[:1]))
    assert need == pytest.approx(0.65, abs=0.01)
    held = [note("held", 2.5, checkpoint="a/checkpoint-20", bytes=5 * MIB)]
    reader = Cast((training(5),), reader=Reader("a/checkpoint-20"))
    assert worst_need(played(reader, notes, others=held)) == pytest.approx(0.55, abs=0.01)
    trash = [note("held", 2.5, checkpoint=None, bytes=5 * MIB)]
    assert worst_need(played(reader, notes, others=trash)) == pytest.approx(0.50, abs=0.01)


def test_an_old_run_is_firm_as_a_whole():
    cast = Cast((training(2),), old=Old("old", ()))
    done = played(cast, [saved(10, 1), saved(20, 2)])
    done.notes["old"] = [saved(step, 0) for step in (10, 20, 30)]
    done.whole["old"] = frozenset({"checkpoint-10", "checkpoint-20"})
    assert worst_need(done) == pytest.approx(0.55, abs=0.01)
    assert score(done).firm_lost == 1


# --- the score ---------------------------------------------------------------------------------


def test_a_full_disk_is_a_miss_where_the_condition_was_held():
    notes = [note("begun", 1), saved(10, 1), note("begun", 2), note("enospc", 2, step=20)]
    done = score(played(Cast((training(9),)), notes))
    assert (done.full, done.saved, done.lost, done.planned) == (1, 1, 1, 9)
    assert done.missed == ("1 ENOSPC",)
    others = [note("filled", 1.5, bytes=90 * MIB)]
    crowded = Cast((training(9),), neighbour=Neighbour(90 * MIB, MIB))
    assert score(played(crowded, notes, others=others)).missed == ()


def test_a_save_that_fails_for_another_reason_is_a_miss():
    notes = [note("begun", 1), saved(10, 1), note("begun", 2)]
    assert score(played(Cast((training(9),)), notes)).missed == ("1 lost otherwise",)


@pytest.mark.parametrize(
    ("gone", "lost"), [(10, 1), (20, 0), (30, 1), (40, 1)], ids=["best", "soft", "second", "newest"]
)
def test_a_firm_one_that_is_gone_is_lost(gone, lost):
    notes = [saved(10, 1, loss=0.1), saved(20, 2), saved(30, 3), saved(40, 4)]
    left = {f"checkpoint-{step}" for step in (10, 20, 30, 40) if step != gone}
    cast = Cast((training(4),))
    assert score(played(cast, notes, lying=left, whole=left)).firm_lost == lost
    assert score(played(cast, notes, lying=left)).firm_lost == lost  # though it came back
    assert score(played(cast, notes, whole=left)).firm_lost == lost  # though its name is there


def test_what_goes_the_moment_a_newer_one_is_whole_is_not_lost():
    notes = [saved(10, 1, loss=2), saved(20, 2), saved(30, 99.05)]
    left = {"checkpoint-20", "checkpoint-30"}
    cast = Cast((training(3),))
    assert score(played(cast, notes, lying=left, whole=left)).firm_lost == 0
    notes[-1] = saved(30, 99.2)
    assert score(played(cast, notes, lying=left, whole=left)).firm_lost == 1


def test_replay_kept_is_what_a_rollback_need_not_train_again():
    notes = [saved(step, step) for step in (10, 20, 30)]
    kept = {"checkpoint-10", "checkpoint-30"}
    done = played(Cast((training(4),)), notes, whole=kept)
    # To 1 s: 1 of it; to 2 s: 1; to 3 s: 3; the fourth was never made.
    assert score(done).replay_kept == pytest.approx((1 + 1 + 3 + 0) / 4)


# --- what it plays -----------------------------------------------------------------------------


def test_a_save_is_whole_until_one_byte_of_a_container_is_missing(tmp_path):
    place = write_checkpoint(tmp_path, 10)
    assert is_whole(place)
    for name in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"):
        before = (place / name).read_bytes()
        cut(place / name, 3)
        assert not is_whole(place), name
        (place / name).write_bytes(before)
    (place / "trainer_state.json").unlink()
    assert not is_whole(place)


def test_percentages_mislead_in_the_steady_scenario():
    (playing,) = steady(ROOM).trainings
    share = playing.saves[0].bytes / ROOM.bytes
    assert 4 * share < 0.85  # below the default `high`
    assert 5 * share > 1  # and yet the next one does not fit
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def bench(*options):
    return [sys.executable, str(BENCH), *options]


@pytest.mark.slow
@pytest.mark.timeout(90)
class TestStopped:
    pytestmark = needs_mounts

    def test_nothing_is_left_mounted_and_nobody_running(self, tmp_path):
        logs = tmp_path / "logs"
        command = bench("--only", "steady", "--logs", str(logs))
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: len(list(logs.glob("*/*/a.diary"))) == 5)
            mounted = survivals(process.pid)
            process.send_signal(signal.SIGTERM)
            told = process.communicate()[1]
        assert len(mounted) == 5
        assert survivals(os.getpid()) == []
        wait_for(lambda: not looped(mounted))
        wait_for(lambda: not named(str(logs)))
        assert process.returncode == 1
        assert "stopped" in told
        assert not any(os.path.exists(point) for point in mounted)


def wait_for(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def survivals(pid):
    """The mount points of the bench that the process sees."""
    points = (line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines())
    return [point for point in points if "/survival-" in point]


def looped(points):
    """The images of *points* that a loop device still holds."""
    places = tuple(os.path.dirname(point) for point in points)
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return [file for file in files if file.read_text().startswith(places)]


def named(text):
    """The processes whose command line names *text*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in line and process.name != str(os.getpid()):
            found.append(process.name)
    return found
