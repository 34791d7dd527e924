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
from ckptd.policy.links import Links
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
    links, begun = _links(run_plans), _Begun()
    chains = [_Chain(run_plan, links, begun) for run_plan in run_plans]
    waiting = [
        (chain.rank(at, inodes=inodes), number, at)
        for number, chain in enumerate(chains)
        for at in chain.soft
    ]
    heapq.heapify(waiting)
    sharers = _Sharers(chains)
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
        chain.take(at)
        gone.add((number, at))
        if not inodes and candidate.frees < candidate.share // 2:
            begun.add(candidate.checkpoint, rank[1])
        for other, place in sharers.of(chain.verdicts[at].checkpoint):
            heapq.heappush(waiting, (chains[other].rank(place, inodes=inodes), other, place))


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


class _Sharers:
    """Which soft checkpoints share files: one that goes makes the others worth more."""

    def __init__(self, chains: Sequence[_Chain]) -> None:
        self._of_file: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for number, chain in enumerate(chains):
            for at in chain.soft:
                for file in chain.verdicts[at].checkpoint.linked:
                    self._of_file.setdefault(file.key, []).append((number, at))

    def of(self, checkpoint: Checkpoint) -> frozenset[tuple[int, int]]:
        """Those that share files with *checkpoint*, itself among them."""
        return frozenset(
            place for file in checkpoint.linked for place in self._of_file.get(file.key, ())
        )


class _Begun:
    """Files that lost a name in vain until their last one goes, and for which cost per byte.

    Those who hold them go next, or what was begun would have cost something and freed nothing.
    """

    def __init__(self) -> None:
        self._costs: dict[tuple[int, int], float] = {}

    def add(self, checkpoint: Checkpoint, cost: float) -> None:
        for file in checkpoint.linked:
            self._costs[file.key] = min(cost, self._costs.get(file.key, inf))

    def cost(self, checkpoint: Checkpoint) -> float:
        return min((self._costs.get(file.key, inf) for file in checkpoint.linked), default=inf)


Rank = tuple[bool, float, bool, tuple[object, ...], str]


class _Chain:
    """The kept checkpoints of one run in the order of training; taken ones are bridged.

    Those that diverged stand in no line: nobody goes back to them.
    """

    def __init__(self, run_plan: RunPlan, links: Links, begun: _Begun) -> None:
        self.run = run_plan.run
        self.verdicts = [v for v in run_plan.verdicts if _is_kept(v)]
        self.soft = [at for at, v in enumerate(self.verdicts) if _is_soft(v, links)]
        self._links = links
        self._begun = begun
        healthy = [at for at, v in enumerate(self.verdicts) if not v.checkpoint.diverged]
        self._before = dict(zip(healthy, [None, *healthy], strict=False))
        self._after = dict(zip(healthy, [*healthy[1:], None], strict=False))
        self._rhythm = rhythm(self.run.saves)

    def rank(self, at: int, *, inodes: bool) -> Rank:
        """Less goes first. It grows as neighbours are taken, and falls as its files lose names."""
        checkpoint = self.verdicts[at].checkpoint
        freed = checkpoint.inodes if inodes else self._links.share(checkpoint)
        begun = self._begun.cost(checkpoint)
        return (
            not self.run.finished,
            min(begun, self.replay(at) / max(1, freed)),
            begun == inf,
            checkpoint.order,
            self.run.path,
        )

    def candidate(self, at: int) -> Candidate:
        checkpoint = self.verdicts[at].checkpoint
        frees, share = self._links.frees(checkpoint), self._links.share(checkpoint)
        return Candidate(self.run, self.verdicts[at], self.replay(at), frees, share)

    def replay(self, at: int) -> float:
        if at not in self._before:
            return 0.0
        before = self._before[at]
        earlier = None if before is None else self.verdicts[before].checkpoint
        return replay_seconds(earlier, self.verdicts[at].checkpoint, self._rhythm)

    def take(self, at: int) -> None:
        self._links.take(self.verdicts[at].checkpoint)
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
