"""What checkpoints that share files by hard links hold and free, alone and together. Pure.

Some trainings link the frozen weights into every save, people link what did not change: alone such
a save frees little, the last of them all that they share, since a file goes with its last name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from math import inf

from ckptd.model import Checkpoint, Linked


class Links:
    """The files that *going* and *gone* checkpoints share; `take` adds one to those that are gone.

    Where a name lies elsewhere, or in a checkpoint that stays, its file never comes free.
    """

    def __init__(self, going: Iterable[Checkpoint] = (), gone: Iterable[Checkpoint] = ()) -> None:
        self._within: Counter[tuple[int, int]] = Counter()
        self._gone: Counter[tuple[int, int]] = Counter()
        for checkpoint in going:
            if checkpoint.linked:
                self._within.update(_names(checkpoint))
        for checkpoint in gone:
            if checkpoint.linked:
                self._within.update(_names(checkpoint))
                self.take(checkpoint)

    def frees(self, checkpoint: Checkpoint) -> int:
        """Bytes that come free with it once those taken are gone."""
        last = (file.bytes for file in checkpoint.linked if self._left(file) <= file.names)
        return checkpoint.frees + sum(last)

    def share(self, checkpoint: Checkpoint) -> int:
        """What it contributes, in bytes: what it frees, and its part of what they free together."""
        parts = (f.bytes * f.names // self._left(f) for f in checkpoint.linked if self._goes(f))
        return checkpoint.frees + sum(parts)

    def take(self, checkpoint: Checkpoint) -> None:
        self._gone.update(_names(checkpoint))

    def _goes(self, file: Linked) -> bool:
        return self._within[file.key] >= file.links

    def _left(self, file: Linked) -> int:
        """Names that are not gone; never fewer than those that are asked about."""
        return max(file.names, file.links - self._gone[file.key])


def _names(checkpoint: Checkpoint) -> dict[tuple[int, int], int]:
    return {file.key: file.names for file in checkpoint.linked}


class Sharers:
    """Who shares files with whom while one after the other is taken.

    Each that goes makes those worth more that hold its files. A holder is its chain and its place.
    """

    def __init__(self) -> None:
        self._holders: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._left: Counter[tuple[int, int]] = Counter()
        self._begun: dict[tuple[int, int], float] = {}

    def add(self, holder: tuple[int, int], checkpoint: Checkpoint) -> None:
        for file in checkpoint.linked:
            self._holders.setdefault(file.key, []).append(holder)
            self._left[file.key] += 1

    def cost(self, checkpoint: Checkpoint) -> float:
        """For which cost per byte a file of it has lost a name in vain until its last one goes.

        Those who hold it go next, or what was begun would have cost something and freed nothing.
        """
        return min((self._begun.get(file.key, inf) for file in checkpoint.linked), default=inf)

    def took(self, checkpoint: Checkpoint, cost: float) -> frozenset[tuple[int, int]]:
        """The holders that are worth more by now, where *checkpoint* was taken; *cost* as above,
        infinite where it was not in vain.

        While thousands are left, one less makes next to no difference: they are told at each half.
        """
        told: set[tuple[int, int]] = set()
        for file in checkpoint.linked:
            self._left[file.key] -= 1
            begun = cost < self._begun.get(file.key, inf)
            if begun:
                self._begun[file.key] = cost
            if begun or self._left[file.key].bit_count() == 1:
                told.update(self._holders.get(file.key, ()))
        return frozenset(told)


def freed_together(checkpoints: Collection[Checkpoint]) -> int:
    """Bytes that come free when all of *checkpoints* go."""
    links = Links(checkpoints)
    return sum(links.share(checkpoint) for checkpoint in checkpoints)


class Holding:
    """The `bytes` on disk of checkpoints together: a file that several of them link counts once."""

    def __init__(self, checkpoints: Iterable[Checkpoint] = ()) -> None:
        self.bytes = 0
        self._holders: Counter[tuple[int, int]] = Counter()
        for checkpoint in checkpoints:
            self.add(checkpoint)

    def add(self, checkpoint: Checkpoint) -> int:
        """The bytes that come with it: of those added oldest first, what each save has written."""
        fresh = [file for file in checkpoint.linked if not self._holders[file.key]]
        self._holders.update(file.key for file in checkpoint.linked)
        return self._change(checkpoint, fresh, 1)

    def drop(self, checkpoint: Checkpoint) -> int:
        """The bytes that go with it, below 0."""
        self._holders.subtract(file.key for file in checkpoint.linked)
        last = [file for file in checkpoint.linked if not self._holders[file.key]]
        return self._change(checkpoint, last, -1)

    def _change(self, checkpoint: Checkpoint, linked: Iterable[Linked], sign: int) -> int:
        own = checkpoint.bytes - sum(file.bytes for file in checkpoint.linked)
        change = sign * (own + sum(file.bytes for file in linked))
        self.bytes += change
        return change
