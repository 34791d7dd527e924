"""No byte and no inode free, where the trainings are and where the ledger is: relief works."""

import os
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest
from corpus import write_checkpoint
from crash.disks import MIB, made, missing
from crash.disks import mounted as mounted_image
from house import names
from watching import until, watching

from ckptd import disk
from ckptd.ledger import ACTS, Ledger

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root"),
]
FILESYSTEMS = ["ext4", "xfs", "tmpfs"]
SIZE = 256 * 1024


@contextmanager
def mounted(fstype, place):
    """A small filesystem at a point in *place*."""
    place.mkdir()
    point = place / "disk"
    if fstype == "tmpfs":
        point.mkdir()
        options = "size=48m,nr_inodes=1500"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", "--lazy", point], check=True)
        return
    if why := missing(fstype):
        pytest.skip(why)
    made(fstype, place / "image")
    with mounted_image(fstype, place / "image", point):
        yield point


def fill(point):
    """Takes all that root can take, every byte and every inode; what an ordinary user has left."""
    filler = point / "filler"
    filler.mkdir()
    # XFS makes inodes of free bytes: there are none once these are gone.
    for take in (bytes_of, inodes_of) if is_xfs(point) else (inodes_of, bytes_of):
        take(filler)
    room = os.statvfs(point)
    return room.f_bavail * room.f_frsize, room.f_favail


def is_xfs(point):
    return disk.measure(str(point)).fstype == "xfs"


def bytes_of(filler):
    fd = os.open(filler, os.O_RDONLY)
    with open(filler / "0", "wb", buffering=0) as file:
        for size in (MIB, 4096):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
            os.fsync(fd)
    os.close(fd)


def inodes_of(filler):
    with suppress(OSError):
        for number in range(20_000):
            (filler / str(number)).touch()


def can_write(path):
    try:
        path.write_bytes(bytes(64 * 1024))
    except OSError:
        return False
    return True


def save(run, step):
    write_checkpoint(run, step, size=SIZE, mtime=time.time() - 600 + step)


MARKS = ("--high", "85%", "--low", "80%", "--hard", "95%", "--reserve", "auto")


@pytest.mark.parametrize("fstype", FILESYSTEMS)
@pytest.mark.parametrize("where", ["same", "another"])
def test_under_demand_a_full_disk_is_relieved_and_each_act_recorded(tmp_path, fstype, where):
    with ExitStack() as open_ones:
        point = open_ones.enter_context(mounted(fstype, tmp_path / "one"))
        home = (
            point if where == "same" else open_ones.enter_context(mounted(fstype, tmp_path / "two"))
        )
        run, state = point / "w" / "out", home / "state"
        for step in range(1, 9):
            save(run, step)
        roomy = ("--high", "99.9%", "--low", "99.8%", "--hard", "100%", "--reserve", "0B")
        with watching(state, run, *roomy) as daemon:
            pass  # it was here before the disk was full
        for full in {point, home}:
            room, _ = fill(full)
            assert room < 16 * 4096
        assert not can_write(point / "w" / "another")
        with watching(state, run, *MARKS) as daemon:
            assert until(lambda: len(names(run)) < 8, 60), daemon.events
            assert until(lambda: daemon.told("evict"), 30), daemon.events
            assert until(lambda: can_write(point / "w" / "another"), 30)
            assert daemon.process.poll() is None
            daemon.process.terminate()
            assert daemon.process.wait(60) == 0
        assert names(run) >= {"checkpoint-7", "checkpoint-8"}
        shutil.rmtree(home / "filler")
        with Ledger(str(state)) as ledger:
            # A purge that the end cut short is finished at the next start.
            assert {record.event for record in ledger.unfinished()} <= {"purge"}
            acts = [r for r in ledger.history() if r.event in ACTS and r.outcome != "intended"]
            told = {r.checkpoint for r in acts if (r.event, r.outcome) == ("evict", "done")}
            # What found no room for a trash was unlinked where it lay.
            assert all("no space" in r.error for r in acts if r.outcome != "done")
        gone = {f"checkpoint-{step}" for step in range(1, 9)} - names(run)
        assert told == {str(run / name) for name in gone}
