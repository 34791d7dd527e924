"""From SIGTERM to the end: of `ckptd watch` in peace and in the midst of a purge.

    python tests/bench/bench_stop.py [--rounds 9]

Beside a bare watchdog observer over the same directory that stops at the signal and joins. The
purge is of a checkpoint of 8,000 files, on the filesystem of the temporary directory; a round in
which it was through before the signal is played again. Goal: under a second, each time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import ratio

sys.path.append(str(Path(__file__).parents[1]))
from corpus import set_times, write_checkpoint
from watching import watching

FILES = 8_000
SETTLED = 3.0
MOST = 1.0  # seconds
POLICY = ("--keep-last", "1", "--keep-best", "0", "--trash-for", "0s")
PEER = """
import signal, sys
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
observer = Observer()
observer.schedule(FileSystemEventHandler(), sys.argv[1], recursive=True)
observer.start()
signal.signal(signal.SIGTERM, lambda *_: observer.stop())
print("ready", flush=True)
observer.join()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    took: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, contender in CONTENDERS.items():
            with tempfile.TemporaryDirectory() as place:
                took[name].append(contender(Path(place)))
    print(f"from SIGTERM to the end, {rounds} rounds")
    for name, each in took.items():
        print(f"  {name:16} median {statistics.median(each):.3f} s  longest {max(each):.3f} s")
    peer, *ours = took.values()
    for name, each in zip(list(took)[1:], ours, strict=True):
        print(f"  {name} beside the bare observer: {ratio(each, peer)}")
    if max(map(max, ours)) >= MOST:
        sys.exit("the goal of a second is missed")


def bare_observer(place: Path) -> float:
    command = [sys.executable, "-c", PEER, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline()
        return ended(process)


def in_peace(place: Path) -> float:
    run = saved_twice(place / "run", files=0)
    with watching(place / "state", run, *POLICY) as watch:
        watch.wait_for("purge")
        time.sleep(SETTLED)
        return ended(watch.process)


def in_a_purge(place: Path) -> float:
    for nth in itertools.count():
        run = saved_twice(place / f"run-{nth}", files=FILES)
        with watching(place / "state", run, *POLICY) as watch:
            while not purging(place):  # without a sleep: it does not take long
                assert watch.process.poll() is None, watch.events
            took = ended(watch.process)
        if purging(place):
            return took
    raise AssertionError


def saved_twice(run: Path, *, files: int) -> Path:
    """A run of two saves, of which the older goes; *files* more in each, so that they are usual."""
    for step in (10, 20):
        save = write_checkpoint(run, step)
        for number in range(files):
            (save / f"note-{number}.txt").touch()
        set_times(save, time.time() - 500 + step)
    return run


def purging(place: Path) -> bool:
    """Whether something in the trash of *place* is being unlinked."""
    return any(place.glob(f".ckptd-trash/{os.geteuid()}/*purging"))


def ended(process: subprocess.Popen[str]) -> float:
    """Seconds from the signal until *process* is gone."""
    begun = time.monotonic()
    process.terminate()
    assert process.wait(30) in {0, -signal.SIGTERM}
    return time.monotonic() - begun


CONTENDERS: dict[str, Callable[[Path], float]] = {
    "bare observer": bare_observer,
    "in peace": in_peace,
    "in a purge": in_a_purge,
}


if __name__ == "__main__":
    main()
