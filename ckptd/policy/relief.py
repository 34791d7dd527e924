"""Which of the soft ones go first: those that are cheapest to have lost, by what they free. Pure.

Without a checkpoint, whoever goes back to it goes back to the kept one before it, and trains the
time between the two once more. That is its replay cost, in seconds of training. Nobody goes back to
one whose training had diverged: it costs nothing, and is nothing to go back to.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from ckptd.model import ActionKind, Checkpoint, Run, RunPlan, Standing, Verdict
from ckptd.policy.rhythm import Rhythm, rhythm
from ckptd.units import show_duration


@dataclass(frozen=True, slots=True)
class Candidate:
    """A soft checkpoint and what it costs to let it go; `replay` in seconds of training."""

    run: Run
    verdict: Verdict
    replay: float

    @property
    def checkpoint(self) -> Checkpoint:
        return self.verdict.checkpoint

    @property
    def cost(self) -> str:
        """`costs 6 min of replay`, as every reason says it."""
        if self.checkpoint.diverged:
            return "costs no replay"
        unknown = self.replay == inf
        return f"costs {'an unknown time' if unknown else show_duration(self.replay)} of replay"


def ranked(run_plans: Sequence[RunPlan], *, inodes: bool = False) -> Iterator[Candidate]:
    """Every soft checkpoint of *run_plans* in the order in which to let go of them.

    Those of finished runs come first, then the least training time lost for each byte freed (with
    *inodes*, for each inode), then the oldest. Each is ranked as if those before it were gone: its
    neighbours then have more to bridge. What frees nothing is left out.
    """
    chains = [_Chain(run_plan) for run_plan in run_plans]
    waiting = [
        (chain.rank(at, inodes=inodes), number, at)
        for number, chain in enumerate(chains)
        for at in chain.soft
    ]
    heapq.heapify(waiting)
    while waiting:
        rank, number, at = heapq.heappop(waiting)
        chain = chains[number]
        if rank != (now := chain.rank(at, inodes=inodes)):
            heapq.heappush(waiting, (now, number, at))  # what lay before it went meanwhile
            continue
        yield Candidate(chain.run, chain.verdicts[at], chain.replay(at))
        chain.take(at)


def soft_ones(run_plans: Iterable[RunPlan]) -> Iterator[Checkpoint]:
    """Those that `ranked` ranks, in no order: for who only wants to know how many there are."""
    for run_plan in run_plans:
        yield from (v.checkpoint for v in run_plan.verdicts if _is_kept(v) and _is_soft(v))


Rank = tuple[bool, float, tuple[object, ...], str]


class _Chain:
    """The kept checkpoints of one run in the order of training; taken ones are bridged.

    Those that diverged stand in no line: nobody goes back to them.
    """

    def __init__(self, run_plan: RunPlan) -> None:
        self.run = run_plan.run
        self.verdicts = [v for v in run_plan.verdicts if _is_kept(v)]
        self.soft = [at for at, v in enumerate(self.verdicts) if _is_soft(v)]
        healthy = [at for at, v in enumerate(self.verdicts) if not v.checkpoint.diverged]
        self._before = dict(zip(healthy, [None, *healthy], strict=False))
        self._after = dict(zip(healthy, [*healthy[1:], None], strict=False))
        self._rhythm = rhythm(self.run.saves)

    def rank(self, at: int, *, inodes: bool) -> Rank:
        """Less goes first. It only grows as others are taken."""
        checkpoint = self.verdicts[at].checkpoint
        freed = checkpoint.inodes if inodes else checkpoint.bytes - checkpoint.shared
        return (
            not self.run.finished,
            self.replay(at) / max(1, freed),
            checkpoint.order,
            self.run.path,
        )

    def replay(self, at: int) -> float:
        if at not in self._before:
            return 0.0
        before = self._before[at]
        earlier = None if before is None else self.verdicts[before].checkpoint
        return replay_seconds(earlier, self.verdicts[at].checkpoint, self._rhythm)

    def take(self, at: int) -> None:
        before, after = self._before.get(at), self._after.get(at)
        if before is not None:
            self._after[before] = after
        if after is not None:
            self._before[after] = before


def _is_kept(verdict: Verdict) -> bool:
    return verdict.action is ActionKind.KEEP and verdict.checkpoint.complete


def _is_soft(verdict: Verdict) -> bool:
    return verdict.standing is Standing.SOFT and not _in_vain(verdict.checkpoint)


def _in_vain(checkpoint: Checkpoint) -> bool:
    """Whether letting it go would free next to nothing: a hard-linked copy has its bytes."""
    return checkpoint.shared > 0.95 * checkpoint.bytes


def replay_seconds(earlier: Checkpoint | None, later: Checkpoint, pace: Rhythm | None) -> float:
    """Seconds of training between two checkpoints of one run; from its beginning without one.

    By the steps between them, where the time a step takes is known: the clock also counts the
    night in which nothing ran. Infinite where nobody can tell.
    """
    steps = _steps(earlier, later)
    if steps and pace and pace.seconds_per_step:
        return steps * pace.seconds_per_step
    if earlier is None:
        return pace.seconds if pace and pace.seconds else inf
    return max(0.0, (later.saved_at - earlier.saved_at).total_seconds())


def _steps(earlier: Checkpoint | None, later: Checkpoint) -> int:
    """0 where they are not known, or where training began anew in between."""
    if later.step is None or (earlier is not None and earlier.step is None):
        return 0
    return max(0, later.step - (earlier.step or 0 if earlier else 0))
