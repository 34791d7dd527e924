"""The ledger's own disk is full: relief goes on."""

import os
import subprocess
import sys
import time

import pytest
from corpus import write_checkpoint
from house import ckptd, names, planned

from ckptd.ledger import Record

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root"),
]


@pytest.fixture
def state(tmp_path):
    """A state directory on a filesystem of 4 MiB."""
    (tmp_path / "small").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path / "small"]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no mount allowed here: {mounted.stderr.decode().strip()}")
    yield tmp_path / "small" / "state"
    subprocess.run(["umount", tmp_path / "small"], check=True)


def fill(ledger, directory):
    """Takes every byte, and every slot that facts may have."""
    with open(directory / "filler", "wb", buffering=0) as file:
        while os.statvfs(directory).f_bavail:
            file.write(b"x" * 4096)
    while ledger.note(Record(event="recognised", at=1.0)):
        pass


def test_a_born_run_that_cannot_be_recorded_is_relieved_all_the_same(tmp_path, state):
    config = tmp_path / "ckptd.toml"
    rules = "[policy]\nkeep_last = 1\nkeep_best = 0\n"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/runs"\n{rules}')
    with ckptd(state, config_file=config) as daemon:
        daemon.eyes.look(users=False)
        for step in (5, 10):
            write_checkpoint(tmp_path / "runs" / "new", step)
        fill(daemon.ledger, state.parent)
        daemon.settle(time.monotonic() + 5)

    assert names(tmp_path / "runs" / "new") == {"checkpoint-10"}


@pytest.fixture
def without_inodes(tmp_path):
    """A run on a filesystem on which, once `fill_inodes` was called, no file can be made."""
    small = tmp_path / "few"
    small.mkdir()
    options = "size=32m,nr_inodes=120"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(small)], check=True)
    for step in (5, 10, 15):
        write_checkpoint(small / "out", step, mtime=time.time() - 1000 + step)
    yield small / "out"
    subprocess.run(["umount", "--lazy", str(small)], check=True)


def fill_inodes(directory):
    (directory / "filler").mkdir()
    for number in range(1000):
        try:
            (directory / "filler" / str(number)).touch()
        except OSError:
            return
    raise AssertionError("inodes enough")


def executed_without_inodes(daemon, run):
    """The outcomes of a plan that was made while there was room: none is demanded."""
    decided = planned(daemon)
    fill_inodes(run.parent)
    return list(daemon.hands.execute(decided))


def test_what_went_into_the_trash_without_a_sidecar_is_known_by_the_ledger(
    without_inodes, tmp_path
):
    run = without_inodes
    options = {"policy__keep_best": 0}
    with ckptd(tmp_path / "state", run, policy__keep_last=2, **options) as daemon:
        daemon.settle(time.monotonic())
    with ckptd(tmp_path / "state", run, policy__keep_last=1, **options) as daemon:
        (outcome,) = executed_without_inodes(daemon, run)
        assert outcome.ok
        shelf = run.parent / ".ckptd-trash" / "0"
        assert {p.name for p in shelf.iterdir()} >= {outcome.id}
        assert not (shelf / f"{outcome.id}.json").exists()
        (item,) = [i for i in daemon.eyes.look(users=False).world.trash if i.id == outcome.id]
        assert (item.known, item.path, item.step) == (True, str(run / "checkpoint-10"), 10)
    later = {"policy__keep_last": 1, "policy__trash_for": "1ms", **options}
    with ckptd(tmp_path / "state", run, **later) as daemon:
        daemon.settle(time.monotonic())
    assert list(shelf.iterdir()) == []


def test_what_lies_there_without_a_sidecar_can_be_restored(without_inodes, tmp_path):
    run = without_inodes
    state = tmp_path / "state"
    with ckptd(state, run, policy__keep_last=2, policy__keep_best=0) as daemon:
        daemon.settle(time.monotonic())
    with ckptd(state, run, policy__keep_last=1, policy__keep_best=0) as daemon:
        executed_without_inodes(daemon, run)
    command = [sys.executable, "-m", "ckptd", "restore", "--state", str(state)]
    subprocess.run([*command, str(run / "checkpoint-10")], check=True)
    assert names(run) == {"checkpoint-10", "checkpoint-15"}
