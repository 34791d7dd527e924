"""The ledger's own disk fails while there is something to let go of: relief goes on."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from corpus import write_checkpoint
from crash.disks import made, missing
from house import ckptd, names
from watching import until, watching

from ckptd.ledger import ACTS, Ledger

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root"),
    pytest.mark.skipif(missing("ext4") is not None, reason="needs mkfs.ext4"),
]
ONE = {"policy__keep_last": 1, "policy__keep_best": 0}
LAST = ("--keep-last", "1", "--keep-best", "0")


class Disk:
    """A small ext4 for the ledger at `point`; it can begin to fail and be mended."""

    def __init__(self, place):
        self.image, self.point = place / "image", place / "disk"
        made("ext4", self.image)
        self.point.mkdir()
        self.loops = []

    def mount(self, options="errors=remount-ro"):
        attach = ["losetup", "--find", "--show", self.image]
        loop = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
        self.loops.append(loop)
        subprocess.run(["mount", "-o", options, loop, self.point], check=True)

    def remount(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", self.point], check=True)

    def fail(self):
        """As when the kernel finds it damaged: from now on it is read-only, whatever is open."""
        name = os.path.basename(self.loops[-1])
        with open(f"/sys/fs/ext4/{name}/trigger_fs_error", "w") as file:
            file.write("a test")

    def shut_down(self):
        """From now on all that is written or read gives EIO."""
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", self.point], check=True)

    def mend(self):
        """Mounted anew, as a person does; what is open stays on the old one."""
        subprocess.run(["umount", "--lazy", self.point], check=True)
        shutil.copyfile(self.image, self.image.with_name("mended"))
        self.image = self.image.with_name("mended")
        subprocess.run(["e2fsck", "-f", "-y", self.image], capture_output=True, check=False)
        self.mount()

    def close(self):
        while os.path.ismount(self.point):
            subprocess.run(["umount", "--lazy", self.point], check=True)
        for loop in self.loops:
            subprocess.run(["losetup", "--detach", loop], check=True)


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path)
    disk.mount()
    yield disk
    disk.close()


@pytest.fixture
def run(tmp_path):
    for step in (5, 10):
        write_checkpoint(tmp_path / "w" / "out", step, mtime=time.time() - 1000 + step)
    return tmp_path / "w" / "out"


def alarms(told):
    return [record.reason for record in told if record.event == "ledger"]


def acts(state):
    return {
        r.checkpoint: r.outcome for r in Ledger.read_only(str(state)).history() if r.event in ACTS
    }


@contextmanager
def read_only(disk):
    disk.remount("ro")
    yield
    disk.remount("rw")


def test_started_on_a_read_only_disk_it_goes_on_and_records_arrive_when_that_is_mended(disk, run):
    state, told = disk.point / "state", []
    with ckptd(state, run, told=told, **ONE) as daemon:
        daemon.eyes.look(users=False)
    disk.remount("ro")
    with ckptd(state, run, told=told, **ONE) as daemon:
        daemon.settle(time.monotonic())
        assert names(run) == {"checkpoint-10"}
        (alarm,) = alarms(told)
        assert "Read-only file system" in alarm
        assert f"what is let go is recorded in {run.parent}/.ckptd-trash" in alarm
        assert "mend its disk" in alarm
        daemon.cycle()
        assert len(alarms(told)) == 1, "it is said once"
        assert acts(state) == {}
        disk.remount("rw")
        daemon.cycle()
        assert "can be written again" in alarms(told)[1]
        assert acts(state) == {str(run / "checkpoint-5"): "done"}
        assert daemon.ledger._slots_file.read() == ()


def test_records_of_a_ckptd_that_ended_meanwhile_arrive_with_the_next_one(disk, run):
    state = disk.point / "state"
    Ledger(str(state)).close()
    with read_only(disk), ckptd(state, run, **ONE) as daemon:
        daemon.settle(time.monotonic())
        assert names(run) == {"checkpoint-10"}
    assert acts(state) == {}
    with ckptd(state, run, **ONE) as daemon:
        daemon.cycle()
        assert list(acts(state).values()) == ["done"]
        assert daemon.ledger._slots_file.read() == ()


def test_a_training_is_relieved_while_the_disk_of_the_ledger_cannot_be_written(disk, tmp_path):
    state, run = disk.point / "state", tmp_path / "w" / "out"
    with watching(state, run, *LAST) as daemon:
        write_checkpoint(run, 10)
        write_checkpoint(run, 20)
        daemon.wait_for("evict", 10)
        disk.fail()
        for step in (30, 40, 50):
            write_checkpoint(run, step)
            daemon.wait_for("evict", step - 10)
        assert names(run) == {"checkpoint-50"}
        alarm = daemon.wait_for("ledger")["reason"]
        assert "is recorded in" in alarm
        disk.mend()
        assert until(lambda: any("again" in e["reason"] for e in daemon.told("ledger")), 60)
        gone = {str(run / f"checkpoint-{step}"): "done" for step in (10, 20, 30, 40)}
        assert until(lambda: acts(state) == gone, 30), acts(state)
        assert daemon.process.poll() is None
    # That checkpoint-10 was told is one of the things that a failing disk may forget.
    assert [len(daemon.told("evict", step)) for step in (20, 30, 40)] == [1, 1, 1]


def test_while_the_disk_of_the_ledger_is_not_mounted_nothing_is_written_where_it_was(disk, run):
    state, told = disk.point / "state", []
    with ckptd(state, run, told=told, **ONE) as daemon:
        subprocess.run(["umount", "--lazy", disk.point], check=True)
        (outcome,) = daemon.settle(time.monotonic())[1]
        daemon.cycle()
        assert outcome.ok
        assert "the filesystem that it lay on is not mounted" in alarms(told)[0]
        assert f"what is let go is recorded in {run.parent}/.ckptd-trash" in alarms(told)[0]
        assert not list(disk.point.rglob("*.db")), "the next mount would cover it"
        disk.mount()
        daemon.cycle()
        assert "can be written again" in alarms(told)[1]
        assert acts(state) == {str(run / "checkpoint-5"): "done"}


def test_a_state_directory_that_is_the_root_of_a_disk_is_not_begun_anew_below_it(disk, run):
    state, told = disk.point, []
    with ckptd(state, run, told=told, **ONE) as daemon:
        subprocess.run(["umount", "--lazy", disk.point], check=True)
        daemon.settle(time.monotonic())
        daemon.cycle()
        assert not (disk.point / "ledger.db").exists()
        assert not (disk.point / "intents").exists()
        disk.mount()
        daemon.cycle()
        assert acts(state) == {str(run / "checkpoint-5"): "done"}


@pytest.mark.skipif(shutil.which("xfs_io") is None, reason="needs xfs_io")
def test_a_disk_that_only_gives_eio_stops_nothing(disk, run):
    state, told = disk.point / "state", []
    with ckptd(state, run, told=told, **ONE) as daemon:
        disk.shut_down()
        (outcome,) = daemon.settle(time.monotonic())[1]
        assert outcome.ok
        assert "Input/output error" in alarms(told)[0]
        write_checkpoint(run, 20, mtime=time.time() - 10)
        daemon.settle(time.monotonic() + 30)  # the new save has to settle first
        assert len(alarms(told)) == 1
        disk.mend()
        daemon.cycle()
        assert "can be written again" in alarms(told)[1]
    assert names(run) == {"checkpoint-20"}
    assert sorted(acts(state).values()) == ["done", "done"]


def test_where_the_trash_cannot_be_written_either_nothing_is_let_go_and_that_is_heard(disk, run):
    state, told = disk.point / "state", []
    Ledger(str(state)).close()
    (run.parent / ".ckptd-trash").mkdir()
    (run.parent / ".ckptd-trash" / "0.intents").symlink_to("/dev/null")
    with read_only(disk), ckptd(state, run, told=told, **ONE) as daemon:
        (outcome,) = daemon.settle(time.monotonic())[1]
        daemon.cycle()
        assert not outcome.ok
        assert names(run) == {"checkpoint-5", "checkpoint-10"}
        assert "nothing is let go" in alarms(told)[0]


def test_restore_works_while_the_disk_of_the_ledger_cannot_be_written(disk, run):
    state = disk.point / "state"
    with ckptd(state, run, **ONE) as daemon:
        daemon.settle(time.monotonic())
    with read_only(disk):
        command = [sys.executable, "-m", "ckptd", "restore", "--state", str(state)]
        subprocess.run([*command, str(run / "checkpoint-5")], check=True)
    assert names(run) == {"checkpoint-5", "checkpoint-10"}
