"""The ledger's own disk is full: relief goes on."""

import os
import subprocess
import time

import pytest
from corpus import write_checkpoint
from house import ckptd, names

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
