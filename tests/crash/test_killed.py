"""Killed before each of its changes, ckptd has lost nothing, and its next start puts it right."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from crash.scenes import SCENES, settle
from crash.stopping import killed_at, needs_ptrace
from crash.witness import GONE, TRASH, Witness

pytestmark = [needs_ptrace, pytest.mark.timeout(600)]

# Where nothing waits for a disk: what a kill leaves is the same on every filesystem.
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# Only each so many stops, where somebody wants to be quick.
EVERY = int(os.environ.get("CKPTD_STOPS_EVERY", "1"))
# What lays out 256 blocks in a row is stopped at every eighth of them.
BLOCKS = 8


@pytest.fixture
def top():
    made = Path(os.path.realpath(tempfile.mkdtemp(dir=FAST)))
    made.chmod(0o755)
    yield made
    for point in ("out", "state"):
        subprocess.run(["umount", "-q", "--lazy", made / "tree" / point], check=False)
    shutil.rmtree(made)


def clear(place):
    if os.path.ismount(place / "out"):
        subprocess.run(["umount", place / "out"], check=True)
    shutil.rmtree(place)


def check_same(scene, place, witness, *, failed=False):
    """Restarted with the same policy, it ends where it would have ended undisturbed."""
    settle(place, **scene.again)
    ends = {f"checkpoint-{step}": where for step, where in scene.ends.items()}
    now = witness.where()
    if scene.name.startswith("restore"):  # what was asked for and not begun is not begun again
        ends = {name: ends[name] if now[name] == ends[name] else TRASH for name in ends}
    assert now == ends
    witness.check(place / "state", waiting=scene.waits, failed=failed)


def check_kept(scene, place, witness):
    """Restarted with a policy that keeps everything, nothing more goes than had gone."""
    before, restarted = witness.where(), time.time()
    settle(place, **scene.keeping)
    assert witness.where() == before
    witness.check(place / "state", restarted=restarted, waiting=scene.waits)


@pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])
def test_a_kill_at_any_change_loses_nothing(scene, top, stops):
    if scene.root and os.geteuid() != 0:
        pytest.skip("needs root")
    for check in (check_same, check_kept):
        nth, killed = 0, True
        while killed:
            nth += BLOCKS if scene.name == "first start" and nth < 270 else EVERY
            came = stop(scene, top / "tree", nth, check)
            killed = came.killed
            stops["SIGKILL"][scene.name] += killed
        assert len(came.calls) > 3


def stop(scene, place, nth, check):
    place.mkdir()
    scene.built(place)
    witness = Witness(place)
    came = killed_at(nth, lambda: scene.act(place))
    scene.mended(place)
    assert came.killed or came.exit_status == 0, came.said
    try:
        gone = {name for name, where in witness.where().items() if where == GONE}
        assert gone <= {f"checkpoint-{s}" for s, where in scene.ends.items() if where == GONE}
        check(scene, place, witness)
    except BaseException as error:
        error.add_note(f"killed before change {nth}, the last of {came.calls[-3:]}")
        raise
    clear(place)
    return came
