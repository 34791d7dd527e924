"""Which of the soft ones go first: those that are cheapest to have lost, by what they free. Pure.

Without a checkpoint, whoever goes back to it goes back to the kept one before it, and trains the
time between the two once more. That is its replay cost, in seconds of training. Nobody goes back to
one whose training had diverged: it costs nothing, and is nothing to go back to.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from ckptd.model import ActionKind, Checkpoint, Run, RunPlan, Standing, Verdict
from ckptd.policy.links import Links, Sharers
from ckptd.policy.rhythm import Rhythm, rhythm
from ckptd.units import show_duration

# This share of a save is its directory and its notes.
NOTHING: Final = 1 / 1000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A soft checkpoint and what it costs to let it go; `replay` in seconds of training.

    `frees` are the bytes that come free with it, once those before it are gone; `share` its part of
    what it and others free together that hold its files.
    """

    run: Run
    verdict: Verdict
    replay: float
    frees: int
    share: int

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
    links, sharers = _links(run_plans), Sharers()
    chains = [_Chain(run_plan, links, sharers) for run_plan in run_plans]
    soft = [(number, at) for number, chain in enumerate(chains) for at in chain.soft]
    for number, at in soft:
        sharers.add((number, at), chains[number].checkpoint(at))
    waiting = [(chains[n].rank(at, inodes=inodes), n, at) for n, at in soft]
    heapq.heapify(waiting)
    gone: set[tuple[int, int]] = set()
    while waiting:
        rank, number, at = heapq.heappop(waiting)
        chain = chains[number]
        if (number, at) in gone:
            continue
        if rank != (now := chain.rank(at, inodes=inodes)):
            heapq.heappush(waiting, (now, number, at))  # what lay before it went meanwhile
            continue
        yield (candidate := chain.candidate(at))
        gone.add((number, at))
        chain.take(at)
        in_vain = candidate.frees < candidate.share // 2 and not inodes
        for n, place in sharers.took(candidate.checkpoint, rank[1] if in_vain else inf):
            heapq.heappush(waiting, (chains[n].rank(place, inodes=inodes), n, place))


def soft_bytes(run_plans: Sequence[RunPlan]) -> int:
    """Bytes that come free when all go that `ranked` ranks."""
    links = _links(run_plans)
    return sum(
        links.share(verdict.checkpoint)
        for run_plan in run_plans
        for verdict in run_plan.verdicts
        if _is_kept(verdict) and _is_soft(verdict, links)
    )


def _links(run_plans: Sequence[RunPlan]) -> Links:
    """Whose files come free with whom: the soft ones may go, and what is not kept goes anyway."""
    verdicts = [verdict for run_plan in run_plans for verdict in run_plan.verdicts]
    return Links(
        (v.checkpoint for v in verdicts if v.standing is Standing.SOFT and _is_kept(v)),
        (v.checkpoint for v in verdicts if v.action is not ActionKind.KEEP),
    )


Rank = tuple[bool, float, bool, tuple[object, ...], str]


class _Chain:
    """The kept checkpoints of one run in the order of training; taken ones are bridged.

    Those that diverged stand in no line: nobody goes back to them.
    """

    def __init__(self, run_plan: RunPlan, links: Links, sharers: Sharers) -> None:
        self.run = run_plan.run
        self.verdicts = [v for v in run_plan.verdicts if _is_kept(v)]
        self.soft = [at for at, v in enumerate(self.verdicts) if _is_soft(v, links)]
        self._links = links
        self._sharers = sharers
        healthy = [at for at, v in enumerate(self.verdicts) if not v.checkpoint.diverged]
        self._before = dict(zip(healthy, [None, *healthy], strict=False))
        self._after = dict(zip(healthy, [*healthy[1:], None], strict=False))
        self._rhythm = rhythm(self.run.saves)

    def rank(self, at: int, *, inodes: bool) -> Rank:
        """Less goes first. It grows as neighbours are taken, and falls as its files lose names."""
        checkpoint = self.checkpoint(at)
        freed = checkpoint.inodes if inodes else self._links.share(checkpoint)
        begun = self._sharers.cost(checkpoint)
        return (
            not self.run.finished,
            min(begun, self.replay(at) / max(1, freed)),
            begun == inf,
            checkpoint.order,
            self.run.path,
        )

    def checkpoint(self, at: int) -> Checkpoint:
        return self.verdicts[at].checkpoint

    def candidate(self, at: int) -> Candidate:
        checkpoint = self.checkpoint(at)
        frees, share = self._links.frees(checkpoint), self._links.share(checkpoint)
        return Candidate(self.run, self.verdicts[at], self.replay(at), frees, share)

    def replay(self, at: int) -> float:
        if at not in self._before:
            return 0.0
        before = self._before[at]
        earlier = None if before is None else self.verdicts[before].checkpoint
        return replay_seconds(earlier, self.verdicts[at].checkpoint, self._rhythm)

    def take(self, at: int) -> None:
        self._links.take(self.checkpoint(at))
        before, after = self._before.get(at), self._after.get(at)
        if before is not None:
            self._after[before] = after
        if after is not None:
            self._before[after] = before


def _is_kept(verdict: Verdict) -> bool:
    return verdict.action is ActionKind.KEEP and verdict.checkpoint.complete


def _is_soft(verdict: Verdict, links: Links) -> bool:
    return verdict.standing is Standing.SOFT and not _in_vain(verdict.checkpoint, links)


def _in_vain(checkpoint: Checkpoint, links: Links) -> bool:
    """Whether it would free next to nothing, also with all that may go besides.

    A hard-linked copy elsewhere has its bytes. What is trained of a frozen model may be a
    hundredth of the save, and is all that such saves fill the disk with.
    """
    return checkpoint.shared > 0 and links.share(checkpoint) < NOTHING * checkpoint.bytes


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
