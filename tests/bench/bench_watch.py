"""From the close of a file by another process until its directory has rung the bell.

    python tests/bench/bench_watch.py [ROUNDS [CLOSES]]

Beside it, in the same rounds, a bare `inotifywait -m` (Debian: inotify-tools) whose line is read.
Absolute times move with the machine; the ratio of the medians is what to look at.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ckptd.watch import Bell, Interest, Watcher

CLOSER = """\
import sys, time
for path in sys.stdin:
    file = open(path.rstrip("\\n"), "r+b", buffering=0)
    file.write(b"x")
    began = time.monotonic_ns()
    file.close()
    print(began, flush=True)
"""


class Closer:
    """Another process that closes a file when told, and says when it began to."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-S", "-c", CLOSER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def latency(self, path: str, heard: Callable[[], None]) -> float:
        """Microseconds from the close of *path* until *heard* returned."""
        self._child.stdin.write(path + "\n")
        heard()
        ended = time.monotonic_ns()
        return (ended - int(self._child.stdout.readline())) / 1000

    def end(self) -> None:
        self._child.communicate()


@contextmanager
def ckptd(directory: str) -> Iterator[Callable[[], None]]:
    bell = Bell()
    watcher = Watcher(bell)
    watcher.start()
    watcher.aim({directory: Interest.WRITING})
    yield lambda: bell.wait(None) and None
    watcher.stop()


@contextmanager
def inotifywait(directory: str) -> Iterator[Callable[[], None]]:
    command = ["inotifywait", "-m", "-e", "close_write", "--format", "%w", directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        while b"established" not in child.stderr.readline():
            pass
        yield lambda: child.stdout.readline() and None
        child.terminate()


def main(rounds: int = 15, closes: int = 200) -> None:
    ways = {"ckptd": ckptd, "inotifywait": inotifywait}
    if shutil.which("inotifywait") is None:
        print("no inotifywait here (Debian: apt-get install inotify-tools): ckptd alone")
        del ways["inotifywait"]
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    with ExitStack() as stack:
        closer = Closer()
        stack.callback(closer.end)
        heard, files = {}, {}
        for name, way in ways.items():
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            files[name] = os.path.join(directory, "model.safetensors")
            open(files[name], "wb").close()
            heard[name] = stack.enter_context(way(directory))
            closer.latency(files[name], heard[name])  # the first is slower, for all
        for turn in range(rounds):
            for name in sorted(ways, reverse=bool(turn % 2)):
                times[name].append(
                    [closer.latency(files[name], heard[name]) for _ in range(closes)]
                )
    report(times)


def report(times: dict[str, list[list[float]]]) -> None:
    for name, rounds in times.items():
        cuts = statistics.quantiles([one for part in rounds for one in part], n=100)
        print(f"{name:12} p50 {cuts[49]:6.0f} us   p99 {cuts[98]:6.0f} us")
    if "inotifywait" in times:
        pairs = zip(times["ckptd"], times["inotifywait"], strict=True)
        ratios = sorted(statistics.median(a) / statistics.median(b) for a, b in pairs)
        print(
            f"ratio of medians, ckptd / inotifywait: {statistics.median(ratios):.2f} "
            f"(rounds from {ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
