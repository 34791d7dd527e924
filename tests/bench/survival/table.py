"""What is printed: a table for each scenario, and the closing line."""

from __future__ import annotations

from collections.abc import Sequence

from bench.survival.cast import MIB, Scenario
from bench.survival.filesystems import Room
from bench.survival.scoring import Score

HEAD = f"  {'':29} ENOSPC    saved  lost  whole  firm lost  replay kept   peak"


def show(scenario: Scenario, room: Room, scores: Sequence[Score]) -> None:
    inodes = f", {room.inodes} inodes" if scenario.inodes else ""
    print(f"{scenario.name}: {scenario.says}")
    print(f"  {scenario.kind} with {room.bytes / MIB:.0f} MiB{inodes}")
    print(HEAD)
    for score in scores:
        print(f"  {row(score)}")
    for score in scores:
        if score.judged:
            print(f"  {condition(score)}")
    print(flush=True)


def row(score: Score) -> str:
    saved = f"{score.saved}/{score.planned}"
    counts = f"{score.full:6} {saved:>8} {score.lost:5} {score.whole:6} {score.firm_lost:10}"
    return f"{score.name:29} {counts} {score.replay_kept:10.1f} s {score.peak:6.1%}"


def condition(score: Score) -> str:
    """Whether the goal's condition was held, and the goal missed."""
    need = f"firm ones, one save per live run and 5 % needed up to {score.worst_need:.0%}"
    verdict = "held" if score.held else "not held, so ENOSPC is not judged"
    missed = f"; MISSED: {', '.join(score.missed)}" if score.missed else ""
    return f"{score.name}: {need}: {verdict}{missed}"


def closing(played: Sequence[tuple[Scenario, Score]]) -> str:
    """The line that says it all, over every judged performance."""
    held = [(scenario, score) for scenario, score in played if score.held]
    survived = sum(not score.missed for _, score in held)
    full, firm = sum(s.full for _, s in held), sum(s.firm_lost for _, s in played)
    missed = [f"{scenario.name} ({score.name})" for scenario, score in played if score.missed]
    where = f"; missed in {', '.join(missed)}" if missed else ""
    return (
        f"ckptd: the goal reached in {survived} of {len(held)} performances whose condition was "
        f"held, {full} ENOSPC, {firm} firm ones lost{where}"
    )
