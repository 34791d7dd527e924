"""The ledger's disk is slow: it takes longer, and nobody is taken for dead."""

import os
import shutil
import subprocess
import threading
import time
from itertools import pairwise

import pytest
from corpus import write_checkpoint
from house import names
from watching import notify_socket, watching

from ckptd.cli import ledgers

WATCHDOG = 40.0  # seconds; the unit's are two minutes
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("bindfs") is None, reason="needs root and bindfs"
    ),
]


@pytest.fixture
def slow(tmp_path):
    """A directory to which 8 KiB a second can be written: a page of SQLite takes half of one."""
    for name in ("real", "slow"):
        (tmp_path / name).mkdir()
    mount = ["bindfs", tmp_path / "real", tmp_path / "slow"]
    subprocess.run(mount, check=True)
    state = tmp_path / "slow" / "state"
    ledgers.opened(str(state)).close()  # laid out before the disk became slow
    subprocess.run(["umount", tmp_path / "slow"], check=True)
    subprocess.run([*mount, "--write-rate=8k"], check=True)
    yield state
    subprocess.run(["umount", "--lazy", tmp_path / "slow"], check=True)


class Manager:
    """Stands in systemd's place and notes when it was told that the service lives."""

    def __init__(self):
        self.socket = notify_socket()
        self.alive = [time.monotonic()]
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def listen(self):
        self._thread.start()

    def _listen(self):
        try:
            while told := self.socket.recv(4096):
                if told.startswith((b"WATCHDOG=1", b"READY=1")):
                    self.alive.append(time.monotonic())
        except (TimeoutError, OSError):
            return

    @property
    def longest(self):
        moments = [*self.alive, time.monotonic()]
        return max(b - a for a, b in pairwise(moments))


def test_a_slow_disk_under_the_ledger_delays_acts_and_trips_no_watchdog(slow, tmp_path):
    run, manager = tmp_path / "w" / "out", Manager()
    environment = {"WATCHDOG_USEC": str(int(WATCHDOG * 1e6)), "WATCHDOG_PID": ""}
    for step in range(10, 60, 10):
        write_checkpoint(run, step, mtime=time.time() - 1000 + step)
    begun = time.monotonic()
    rules = ("--keep-last", "1", "--keep-best", "0")
    with watching(slow, run, *rules, manager=manager.socket, **environment) as daemon:
        manager.alive.append(time.monotonic())
        manager.listen()
        for step in range(10, 50, 10):
            daemon.wait_for("evict", step, seconds=120)
        took = time.monotonic() - begun
        assert names(run) == {"checkpoint-50"}
        assert daemon.process.poll() is None
        longest = manager.longest
    assert took > 5, "the disk is not slow: this proves nothing"
    assert longest < WATCHDOG
