"""How much training is kept for people who go back, beside the newest so many and one who knows.

    python tests/bench/usefulness [--trainings 300] [--seed 1]

Trainings are thought up (trainings.py) and played with ckptd's own planner and its defaults. The
others have as many saves as ckptd ever had at once. Whoever goes back to a moment of the training
finds the latest save before it: the training up to there is kept, the rest is trained again, and
saved again as it is. Printed are the seconds kept, as a share of those of one who knows when
somebody will go back where: in all, and the median of the trainings with where four of five of
them lie, by how many saves fit on the disk. Exit 1 when the goal is missed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from keepers import Ckptd, Clairvoyant, Newest
from measuring import percentile
from trainings import Training, trainings

GOAL = 0.90
CLEARLY = 1.1
HEADING = (
    "saves that fit trainings  saves  backs  "
    "kept by ckptd, of one who knows     by the newest so many"
)
FITTING = (0, 8, 16, 32, math.inf)


@dataclass(frozen=True)
class Result:
    """One training: seconds of it that were wanted by all who went back, and kept, by each."""

    fitting: int
    saves: int
    backs: int
    wanted: float
    ckptd: float
    newest: float
    clairvoyant: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results = [
        result
        for training in trainings(options.seed, options.trainings)
        if (result := compared(training))
    ]
    print(f"seed {options.seed}: {len(results)} trainings in which somebody goes back")
    print(HEADING)
    for least, most in pairwise(FITTING):
        row(f"{least + 1:g} to {most:g}", [r for r in results if least < r.fitting <= most])
    row("all", results)
    wanted = sum(r.wanted for r in results)
    for who in ("ckptd", "newest", "clairvoyant"):
        again = wanted - sum(getattr(r, who) for r in results)
        print(f"{who:12} {again / 3600:7.0f} h trained again of {wanted / 3600:.0f} h")
    ours, theirs = in_all(results, "ckptd"), in_all(results, "newest")
    print(f"goal: {GOAL:.0%} of one who knows, {CLEARLY:g} times the newest so many", end="; ")
    print(f"{ours:.1%}, {ours / theirs:.2f} times")
    if ours < GOAL or ours < CLEARLY * theirs:
        sys.exit("the goal is missed")


def row(name: str, results: Sequence[Result]) -> None:
    if not results:
        return
    saves, backs = sum(r.saves for r in results), sum(r.backs for r in results)
    each = "  ".join(spread(results, who) for who in ("ckptd", "newest"))
    print(f"{name:14} {len(results):9} {saves:6} {backs:6}  {each}")


def in_all(results: Sequence[Result], who: str) -> float:
    """What *who* keeps, as a share of what one keeps who knows."""
    return sum(getattr(r, who) for r in results) / sum(r.clairvoyant for r in results)


def spread(results: Sequence[Result], who: str) -> str:
    """The share in all, the median of the trainings, and where four of five of them lie."""
    shares = [in_all([result], who) for result in results]
    low, high = percentile(shares, 0.1), percentile(shares, 0.9)
    middle = statistics.median(shares)
    return f"{in_all(results, who):6.1%} (median {middle:4.0%}, {low:3.0%} to {high:4.0%})"


def compared(training: Training) -> Result | None:
    ckptd = Ckptd(training)
    kept = played(training, ckptd)
    knows = Clairvoyant(ckptd.most, training.moves)
    best = played(training, knows, knows.moved)
    if not best:
        return None
    backs = len(training.moves) - training.saves
    newest = played(training, Newest(ckptd.most))
    wanted = sum(at for what, at in training.moves if what == "back")
    seconds = (each * training.every for each in (wanted, kept, newest, best))
    return Result(ckptd.most, training.saves, backs, *seconds)


def played(
    training: Training,
    keeper: Ckptd | Newest | Clairvoyant,
    moved: Callable[[], None] = lambda: None,
) -> float:
    """The training kept, in intervals, over all who go back."""
    kept = 0.0
    for what, at in training.moves:
        if what == "save":
            keeper.save(at)
        else:
            keeper.give_up(at)
            found = max(keeper.has, default=0.0)
            kept += found
            for again in range(math.floor(found) + 1, math.floor(at) + 1):
                keeper.save(float(again))
        moved()
    return kept


if __name__ == "__main__":
    main()
