"""Space that does not come: who keeps it, and that others' writing keeps nothing back."""

import os
import subprocess
import time

import pytest
from builders import disk

from ckptd import procs
from ckptd.actions.meter import SPACE_COMES_WITHIN, Meter
from ckptd.model import Relief

MIB = 2**20
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root"),
]


@pytest.fixture
def small(tmp_path):
    point = tmp_path / "small"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(point)]
    subprocess.run(command, check=True)
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def metered(place, **fields):
    facts = {"path": str(place), "mount": str(place), "fstype": "tmpfs"} | fields
    meter = Meter(Relief(disk(**facts), demand=10 * MIB), lambda: None)
    meter.start()
    return meter


def written(place, name, mib):
    (place / name).write_bytes(bytes(mib * MIB))
    return place / name


def test_what_comes_free_is_kept_by_nobody(small):
    gone = written(small, "a", 8)
    meter = metered(small)
    gone.unlink()
    assert meter.kept_back(8 * MIB) == (0, ())


@pytest.mark.parametrize(("fstype", "comes_late"), [("tmpfs", False), ("xfs", True)])
def test_others_who_write_as_much_keep_nothing_back(small, fstype, comes_late):
    gone = written(small, "a", 8)
    meter = metered(small, fstype=fstype)
    gone.unlink()
    written(small, "b", 12)
    begun = time.monotonic()
    assert meter.kept_back(8 * MIB) == (0, ())
    assert (time.monotonic() - begun >= SPACE_COMES_WITHIN) is comes_late


def test_a_process_with_the_deleted_file_open_keeps_it_and_is_named(small):
    gone = written(small, "a", 8)
    with gone.open("rb") as file, subprocess.Popen(["sleep", "60"], stdin=file) as reader:
        file.close()
        meter = metered(small)
        gone.unlink()
        kept, (keeper,) = meter.kept_back(8 * MIB)
        assert (kept, keeper.who) == (8 * MIB, f"sleep (pid {reader.pid})")
        reader.kill()
    assert procs.keepers(str(small)) == ()


def test_who_keeps_a_deleted_file_of_another_filesystem_keeps_nothing_here(small):
    beside = small.with_name(f"{small.name}-beside")  # its path begins as that of the mount
    beside.write_bytes(b"0" * MIB)
    with beside.open("rb") as file, subprocess.Popen(["sleep", "60"], stdin=file) as reader:
        file.close()
        beside.unlink()
        assert procs.keepers(str(small)) == ()
        reader.kill()


def test_where_snapshots_may_keep_it_nothing_that_comes_means_kept(small):
    meter = metered(small, fstype="btrfs")
    assert meter.kept_back(8 * MIB) == (8 * MIB, ())


def test_under_a_limit_what_was_unlinked_is_counted(small):
    meter = metered(small, limit="quota of user 7")
    assert meter.kept_back(8 * MIB) == (0, ())
    assert not meter.is_met
    meter.kept_back(2 * MIB)
    assert meter.is_met
