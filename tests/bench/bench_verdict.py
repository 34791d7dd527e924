"""From the last close of a save to ckptd's verdict, beside a bare `inotifywait` loop.

    python tests/bench/bench_verdict.py [--saves 30] [--rounds 5]

A round runs the same writer once for each of the two; they take turns. Both are timed at this
process, when their line arrives. Also counted: saves judged complete before their last close.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from measuring import ckptd, percentile, ratio

WRITER = Path(__file__).with_name("save_writer.py")
MARKER = "trainer_state.json"
GOAL = 0.050
GRACE = 3.0  # for the last verdicts, and for the watchers to be ready
Step = int


@dataclass
class Round:
    """Seconds from close to word, by save; `early` came before the close, `missed` never."""

    took: list[float] = field(default_factory=list)
    early: int = 0
    missed: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between saves")
    parser.add_argument("--size", type=int, default=2**20, help="bytes of the weights")
    options = parser.parse_args()
    writing = (str(options.saves), str(options.pause), str(options.size))
    rounds: dict[str, list[Round]] = {"ckptd": [], "inotifywait": []}
    for _ in range(options.rounds):
        rounds["ckptd"].append(one_round(by_ckptd, from_ckptd, writing))
        rounds["inotifywait"].append(one_round(by_inotifywait, from_inotifywait, writing))
    for name, done in rounds.items():
        show(name, done)
    medians = {name: [statistics.median(r.took) for r in done] for name, done in rounds.items()}
    print(f"{'':11} {ratio(medians['ckptd'], medians['inotifywait'])} inotifywait")
    if any(r.early or r.missed for r in rounds["ckptd"]):
        sys.exit("ckptd judged a save too early or not at all")


def show(name: str, rounds: Sequence[Round]) -> None:
    took = [seconds for round_ in rounds for seconds in round_.took]
    p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
    early, missed = sum(r.early for r in rounds), sum(r.missed for r in rounds)
    goal = f"  goal p50 under {GOAL * 1000:.0f} ms" if name == "ckptd" else ""
    print(f"{name:11} p50 {p50 * 1000:6.2f} ms  p99 {p99 * 1000:6.2f} ms{goal}")
    print(f"{'':11} {len(took)} saves, {early} judged before their last close, {missed} missed")


def one_round(
    watching: Callable[[Path, Path], list[str]],
    step_in: Callable[[str], Step | None],
    writing: Sequence[str],
) -> Round:
    """The writer beside one watcher."""
    with tempfile.TemporaryDirectory() as place:
        run = Path(place, "run")
        run.mkdir()
        command = watching(run, Path(place, "state"))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as watcher:
            heard: dict[Step, int] = {}
            listener = Thread(target=listen, args=(watcher, step_in, heard))
            listener.start()
            time.sleep(GRACE)
            closes = subprocess.check_output([sys.executable, WRITER, run, *writing], text=True)
            time.sleep(GRACE)
            watcher.terminate()
            listener.join()
    return compared(closes, heard)


def listen(
    watcher: subprocess.Popen[bytes], step_in: Callable[[str], Step | None], heard: dict[Step, int]
) -> None:
    """Notes in *heard* when the first word on each step arrived."""
    assert watcher.stdout is not None
    for line in watcher.stdout:
        now = time.monotonic_ns()
        step = step_in(line.decode(errors="replace"))
        if step is not None:
            heard.setdefault(step, now)


def compared(closes: str, heard: dict[Step, int]) -> Round:
    done = Round()
    for line in closes.splitlines():
        step, closing = map(int, line.split())
        if step not in heard:
            done.missed += 1
        elif heard[step] < closing:
            done.early += 1
        else:
            done.took.append((heard[step] - closing) / 1e9)
    return done


def by_ckptd(run: Path, state: Path) -> list[str]:
    return ckptd("watch", "--json", "--state", state, run)


def from_ckptd(line: str) -> Step | None:
    event = json.loads(line) if line.startswith("{") else {}
    return event["step"] if event.get("event") == "recognised" else None


def by_inotifywait(run: Path, state: Path) -> list[str]:
    del state
    return ["inotifywait", "-m", "-q", "-r", "-e", "close_write", "--format", "%w%f", str(run)]


def from_inotifywait(line: str) -> Step | None:
    """The step of a save whose last file was closed."""
    checkpoint, _, name = line.strip().rpartition("/")
    return int(checkpoint.rpartition("-")[2]) if name == MARKER else None


if __name__ == "__main__":
    main()
