"""The power fails in the midst of an act: after the restart nothing is lost and all is told.

The image is copied while ckptd stands still before a change: what was not synced is missing there.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from crash.disks import as_the_power_fails, made, missing, mounted
from crash.scenes import SCENES
from crash.stopping import needs_ptrace, paused_at_each
from crash.test_killed import check_kept, check_same
from crash.witness import GONE, Witness

pytestmark = [
    needs_ptrace,
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
CUT_IN = ["evict", "evict and purge at once", "restore", "set_aside"]
# How many moments of each act: they are spread over its changes.
MOMENTS = int(os.environ.get("CKPTD_POWER_CUTS", "24"))


@pytest.fixture
def images():
    made_here = Path(os.path.realpath(tempfile.mkdtemp()))
    yield made_here
    shutil.rmtree(made_here)


@pytest.mark.parametrize("fstype", ["ext4", "xfs"])
@pytest.mark.parametrize("scene", [s for s in SCENES if s.name in CUT_IN], ids=lambda s: s.name)
def test_a_power_cut_at_any_moment_loses_nothing(scene, fstype, images, stops):
    if why := missing(fstype):
        pytest.skip(why)
    image, point, place = images / "image", images / "disk", images / "disk" / "tree"
    copies = []

    def cut(number, name):
        copies.append((number, name, images / f"cut-{number}"))
        as_the_power_fails(image, copies[-1][-1])

    made(fstype, image)
    with mounted(fstype, image, point):
        place.mkdir()
        scene.built(place)
        os.sync()
        witness = Witness(place)
        came = paused_at_each(lambda: scene.act(place), cut)
        assert came.exit_status == 0, came.said
    image.unlink()
    # The acts are at the end: what comes before opens the ledger.
    chosen = copies[-MOMENTS:]
    for turn, (number, name, copy) in enumerate(chosen):
        with mounted(fstype, copy, point):
            try:
                gone = {n for n, where in witness.where().items() if where == GONE}
                ends = {f"checkpoint-{s}" for s, where in scene.ends.items() if where == GONE}
                assert gone <= ends
                (check_same, check_kept)[turn % 2](scene, place, witness)
            except BaseException as error:
                error.add_note(f"the power failed before change {number}, {name}")
                raise
        stops[f"power cut on {fstype}"][scene.name] += 1
        copy.unlink()
