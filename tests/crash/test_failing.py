"""A disk that fails under ckptd, from any change on: nothing is lost, and nothing goes unrecorded.

Once the disk is well again, the next start puts everything right.
"""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from crash.scenes import SCENES
from crash.stopping import failed_from, needs_ptrace
from crash.test_killed import EVERY, check_same
from crash.witness import GONE, Witness

pytestmark = [needs_ptrace, pytest.mark.timeout(900)]
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT, "EROFS": errno.EROFS}
FAILING_IN = ["evict", "evict and purge at once"]


@pytest.fixture
def top():
    made = Path(os.path.realpath(tempfile.mkdtemp(dir="/dev/shm")))
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("lasting", [True, False], ids=["for-good", "once"])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("scene", [s for s in SCENES if s.name in FAILING_IN], ids=lambda s: s.name)
def test_a_failing_disk_loses_nothing(scene, error, lasting, top, stops):
    nth, reached = 1, True
    while reached:
        place = top / "tree"
        place.mkdir()
        scene.built(place)
        witness = Witness(place)
        last = None if lasting else nth
        came = failed_from(nth, ERRORS[error], lambda: scene.act(place), last=last)  # noqa: B023
        reached = len(came.calls) >= nth
        try:
            assert came.exit_status == 0 or "LedgerError" in came.said, came.said
            gone = {n for n, where in witness.where().items() if where == GONE}
            assert gone <= {f"checkpoint-{s}" for s, at in scene.ends.items() if at == GONE}
            check_same(scene, place, witness, failed=True)
        except BaseException as found:
            found.add_note(f"{error} from change {nth}, which is {came.calls[nth - 1 : nth]}")
            raise
        shutil.rmtree(place)
        stops[error][f"{scene.name}{'' if lasting else ', once'}"] += reached
        nth += EVERY
