"""Start-up: `--help` and `plan` on 20 checkpoints, beside a Python that does nothing.

    python tests/bench/bench_startup.py [--rounds 15]

The three take turns; printed are medians and the median ratio with its spread.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import ckptd, ratio

sys.path.append(str(Path(__file__).parents[1]))
from corpus import write_checkpoint

GOALS = {"--help": 0.100, "plan": 0.300}
CHECKPOINTS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        took = measured(Path(place), rounds)
    for name, seconds in took.items():
        median = statistics.median(seconds)
        goal = f"  goal {GOALS[name] * 1000:.0f} ms" if name in GOALS else ""
        spread = f"{min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f}"
        print(f"{name:8} {median * 1000:6.1f} ms ({spread}){goal}", end="")
        print("" if name == "python" else f"  {ratio(seconds, took['python'])} bare Python")


def measured(place: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each command in each round."""
    for n in range(1, CHECKPOINTS + 1):
        write_checkpoint(place / "run", 50 * n, eval_loss=1 / n)
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "--help": ckptd("--help"),
        "plan": ckptd("plan", "--keep-last", 2, "--state", place / "state", place / "run"),
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
