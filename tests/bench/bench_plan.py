"""Planning many checkpoints: its processor time and how that grows, beside writing it as JSON.

    python tests/bench/bench_plan.py [--rounds 5] [--most 100000]

Runs of 100 checkpoints, 1,000 checkpoints up to 100,000, on a disk with room and on one that is
too full; then as many in one single run. The peer writes the same plan as `plan --json` does, in
the same rounds. Exit 1 where planning one checkpoint among many takes more than twice as long as
it takes among a thousand, measured by the peer.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import ratio

sys.path.append(str(Path(__file__).parents[1]))
from builders import GIB, ck, disk, plan_of, run, world

from ckptd import render
from ckptd.model import World

IN_A_RUN = 100
COUNTS = (1_000, 3_000, 10_000, 30_000, 100_000)
STORIES = {
    "with room": (IN_A_RUN, 50),
    "too full": (IN_A_RUN, 90),
    "too full, one run": (COUNTS[-1], 90),
}
GOAL = 1.0  # seconds for the most, about
LINEAR = 2.0
WIDTH = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="checkpoints")
    options = parser.parse_args()
    counts = [count for count in COUNTS if count <= options.most]
    grown = [
        curve(name, {n: measured(invented(n, *story), options.rounds) for n in counts})
        for name, story in STORIES.items()
    ]
    print(f"goal: linear, about {GOAL:g} s for {COUNTS[-1]:,}")
    if max(grown) > LINEAR:
        sys.exit(f"planning one checkpoint takes {max(grown):.1f} times as long among many")


def invented(count: int, in_a_run: int, used: float) -> World:
    """So many checkpoints that a minute lies between two of a run."""
    sizes = [min(in_a_run, count - at) for at in range(0, count, in_a_run)]
    runs = [
        run(*saves(size), path=f"/data/run-{n}", live=n % 2 == 0) for n, size in enumerate(sizes)
    ]
    return world(*runs, filesystems=[disk(used, total=2 * count * GIB)])


def saves(count: int) -> Iterator[object]:
    return (ck(50 * n, 0.5 + n % 7 / 10, age=60.0 * (count - n + 1)) for n in range(1, count + 1))


Round = tuple[float, float]  # processor seconds: to plan, and to write the plan


def measured(there: World, rounds: int) -> list[Round]:
    done = []
    for _ in range(rounds):
        planning, decided = timed(lambda: plan_of(there))
        writing, _ = timed(lambda decided=decided: render.dumps(render.plan_json(decided)))
        done.append((planning, writing))
    return done


def timed(task: Callable[[], object]) -> tuple[float, object]:
    gc.collect()
    begun = time.process_time()
    result = task()
    return time.process_time() - begun, result


def curve(name: str, took: dict[int, list[Round]]) -> float:
    """Prints how the time grows; how many times that of the first count the last one takes."""
    print(name)
    medians = {n: statistics.median(plan for plan, _ in rounds) for n, rounds in took.items()}
    for n, rounds in took.items():
        bar = "#" * max(1, round(WIDTH * medians[n] / max(medians.values())))
        each = f"{medians[n] / n * 1e6:5.1f} us each"
        peer = ratio(*zip(*rounds, strict=True))
        print(f"  {n:7,} {medians[n]:7.3f} s {each}  {bar:{WIDTH}}  {peer} writing it")
    first, *_, last = (
        statistics.median(plan / peer for plan, peer in rounds) for rounds in took.values()
    )
    return last / first


if __name__ == "__main__":
    main()
