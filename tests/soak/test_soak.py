"""Hours of a training server in minutes: whatever happens, nothing is lost, and nothing grows.

`CKPTD_SOAK_SECONDS` says how long (120), `CKPTD_SOAK_SEED` which chance. The first half also kills
ckptd; the second lets one live, whose use of memory, descriptors, threads and watches is measured.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from soak.stage import FAKETIME, Stage

MIB = 2**20
SECONDS = float(os.environ.get("CKPTD_SOAK_SECONDS", "120"))
SEED = int(os.environ.get("CKPTD_SOAK_SEED", "1"))
DISK = 128 * MIB
LOOK = 1.0
# What may be more at the end than after its first quarter: a run more to watch, a page more.
MAY_GROW = {"RSS (MiB)": 6.0, "descriptors": 8, "threads": 2, "watches": 40}

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root"),
    pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="mkfs.ext4 is not installed"),
    pytest.mark.timeout(SECONDS + 300),
]


@pytest.fixture
def disk(tmp_path):
    image, point = tmp_path / "image", tmp_path / "disk"
    image.touch()
    os.truncate(image, DISK)
    point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    yield point
    subprocess.run(["umount", "--lazy", point], check=True)


@pytest.mark.parametrize("beside", [True, False], ids=["ledger beside", "ledger elsewhere"])
def test_nothing_is_lost_and_nothing_grows(disk, tmp_path, told, beside):
    (disk / "data").mkdir()
    state = disk / "state" if beside else tmp_path / "state"
    state.mkdir()
    stage = Stage(disk / "data", state, tmp_path, SEED + beside)
    try:
        soak(stage)
        told += report(stage, SECONDS / 2)
        end(stage)
    finally:
        stage.close()


def soak(stage):
    begun, looked = time.monotonic(), 0.0
    while (passed := time.monotonic() - begun) < SECONDS / 2:
        stage.happen(kills=passed < SECONDS / 4)
        time.sleep(stage.chance.uniform(0.0, 0.4))
        if time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            assert stage.process.poll() is None, stage.log.read_text()[-3000:]
            stage.gauge.sample()
            assert violations(stage) == []
    for name, most in MAY_GROW.items():
        assert stage.gauge.growth(name) <= most, stage.gauge.curves()


def violations(stage):
    return [violation for run in stage.runs for violation in run.violations()]


def report(stage, seconds):
    happened = ", ".join(f"{name} {count}" for name, count in sorted(stage.counts.items()))
    saves = sum(len(run.whole) for run in stage.runs)
    clock = "" if FAKETIME.exists() else " (no libfaketime: the clock did not jump)"
    return [
        f"soak: {seconds:.0f} s, {len(stage.runs)} runs, {saves} saves, no violation{clock}",
        f"  {happened}",
        *(f"  {curve}" for curve in stage.gauge.curves()),
    ]


def end(stage):
    """At rest: what must be is there, what went is in the history, and the end is quick."""
    stage.rest()
    until = time.monotonic() + 90
    while due(stage) and time.monotonic() < until:
        time.sleep(3)  # a look opens files, which another ckptd's look may take for use
    assert due(stage) == []
    assert violations(stage) == []
    _, document = stage.ask("history")
    events = [event for event in document["events"] if event["outcome"] == "done"]
    assert list(unrecorded(stage, events)) == []
    went = sum(event["event"] == "evict" for event in events)
    assert went > SECONDS / 10, "it proved nothing"
    begun = time.monotonic()
    stage.process.terminate()
    assert stage.process.wait(10) == 0
    assert time.monotonic() - begun < 5


def due(stage):
    """What is still to go, and what looks as if it were being written, for which others wait."""
    _, document = stage.ask("plan")
    checkpoints = [c for run in document["runs"] for c in run["checkpoints"]]
    return [c for c in checkpoints if c["action"] != "keep" or c["health"] == "writing"]


def unrecorded(stage, events):
    """Whole saves that are no longer there, although no record says that they were let go."""
    gone = {e["checkpoint"] for e in events if e["event"] in ("evict", "set_aside")}
    for run in stage.runs:
        for step in sorted(run.whole):
            places = [path / f"checkpoint-{step}" for path in (run.path, *run.paths)]
            mine = [Path(path, f"mine-{step}") for path in (run.path, *run.paths)]
            if not any(place.exists() for place in (*places, *mine)) and not gone & set(
                map(str, places)
            ):
                yield f"{run.path}: step {step} went and nothing says so"
