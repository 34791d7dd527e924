"""A training that saves in its own rhythm, and says what it saved. It dies of a full disk.

    python trainer.py --output_dir RUN SEED

On standard output, one JSON line each: `begun` with the step, its eval_loss and the size of every
file it is about to write, and `whole` with the step once the last of them is closed.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from corpus import checkpoint_files

KIB = 1024
GROWS = 0.05  # how often a save is twice as large as usual


def main() -> None:
    run, chance = Path(sys.argv[2]), random.Random(sys.argv[3])
    history = {step: loss_of(place) for step, place in saves(run)}
    step = max(history, default=0)
    rhythm, size = chance.uniform(0.2, 1.2), chance.randint(200, 900) * KIB
    while True:
        time.sleep(chance.uniform(0.5, 1.5) * rhythm)
        step += 10
        history[step] = round(chance.uniform(0.1, 4.0), 6)
        best = min(history, key=lambda at: (history[at], at))
        larger = 2 if chance.random() < GROWS else 1
        save(run, step, history, best=best, size=larger * size)


def save(run: Path, step: int, history: dict[int, float], *, best: int, size: int) -> None:
    files = checkpoint_files(str(run), step, history=history, best=best, size=size)
    sizes = {name: len(content) for name, content in files.items()}
    tell(begun=step, loss=history[step], files=sizes)
    place = run / f"checkpoint-{step}"
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    tell(whole=step)


def saves(run: Path) -> list[tuple[int, Path]]:
    """Those that resuming could take: with a state, whatever else they lack."""
    found = run.glob("checkpoint-*/trainer_state.json")
    return [(int(state.parent.name.partition("-")[2]), state) for state in found]


def loss_of(state: Path) -> float:
    """The step's own; one whose state is cut short counts as the worst."""
    try:
        logs = json.loads(state.read_bytes())["log_history"]
        return float(next(log["eval_loss"] for log in reversed(logs) if "eval_loss" in log))
    except (OSError, ValueError, StopIteration):
        return 99.0


def tell(**fact: object) -> None:
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    main()
