"""Start-up: `--help`, `plan` and `status`, beside a Python that does nothing.

    python tests/bench/bench_startup.py [--rounds 15]

`plan` looks at 20 checkpoints, `status` at what a running `ckptd watch` sees of them, and
`nothing` is a `status` where none runs. All take turns; printed are medians and the median ratio
with its spread.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import ckptd, ratio

sys.path.append(str(Path(__file__).parents[1]))
from corpus import write_checkpoint

GOALS = {"--help": 0.100, "plan": 0.300}
CHECKPOINTS = 20
PATIENCE = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        run, state = Path(place, "run"), Path(place, "state")
        for n in range(1, CHECKPOINTS + 1):
            write_checkpoint(run, 50 * n, eval_loss=1 / n)
        with watching(run, state):
            took = measured(run, state, rounds)
    for name, seconds in took.items():
        median = statistics.median(seconds)
        goal = f"  goal {GOALS[name] * 1000:.0f} ms" if name in GOALS else ""
        spread = f"{min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f}"
        print(f"{name:8} {median * 1000:6.1f} ms ({spread}){goal}", end="")
        print("" if name == "python" else f"  {ratio(seconds, took['python'])} bare Python")


@contextmanager
def watching(run: Path, state: Path) -> Iterator[None]:
    """A `ckptd watch` that has had its first look."""
    command = ckptd("watch", "--json", "--state", state, run)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as watch:
        try:
            until = time.monotonic() + PATIENCE
            while b"looked" not in subprocess.check_output(ckptd("status", "--state", state)):
                assert watch.poll() is None, "the watch ended by itself"
                assert time.monotonic() < until, "the watch shows nothing"
            yield
        finally:
            watch.terminate()


def measured(run: Path, state: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each command in each round."""
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "--help": ckptd("--help"),
        "plan": ckptd("plan", "--keep-last", 2, "--state", state, run),
        "status": ckptd("status", "--state", state),
        "nothing": ckptd("status", "--state", state / "none"),
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(-1, rounds):  # the first one warms the caches
        for name, command in commands.items():
            begun = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if round_ >= 0:
                took[name].append(time.monotonic() - begun)
    return took


if __name__ == "__main__":
    main()
