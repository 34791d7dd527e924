"""What `ckptd watch` costs when nothing happens: memory and CPU on a tree of 20 checkpoints.

python tests/bench/bench_idle.py [--seconds 120]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import ckptd

sys.path.append(str(Path(__file__).parents[1]))
from corpus import write_checkpoint

CHECKPOINTS = 20
SETTLED = 15.0  # from here on nothing is new to it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as place:
        out = Path(place, "run")
        for n in range(1, CHECKPOINTS + 1):
            write_checkpoint(out, 50 * n, mtime=time.time() - 3600 * (CHECKPOINTS - n + 1))
        command = ckptd("watch", "--json", "--state", Path(place, "state"), out)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as watch:
            try:
                show(watch, seconds)
            finally:
                watch.terminate()


def show(watch: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(SETTLED)
    begun, before = cpu_seconds(watch.pid), time.monotonic()
    time.sleep(seconds)
    spent, passed = cpu_seconds(watch.pid) - begun, time.monotonic() - before
    assert watch.poll() is None, "the watch ended by itself"
    print(f"rss   {resident(watch.pid) / 2**20:.1f} MiB  goal under 50 MiB")
    share = 100 * spent / passed
    print(f"cpu   {spent:.3f} s in {passed:.0f} s quiet ({share:.3f} %)  goal under 0.05 %")
    print(f"start {begun:.2f} s of CPU until settled")


def cpu_seconds(pid: int) -> float:
    """Of all its threads, from the scheduler's nanoseconds: the ticks of stat are too coarse."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident(pid: int) -> int:
    """Resident bytes."""
    words = Path(f"/proc/{pid}/statm").read_text().split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
