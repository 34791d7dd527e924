"""How many saves fit on a filesystem, and how many steps must lie between them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf
from typing import Final

from ckptd.model import Filesystem, Run
from ckptd.policy.foresight import Growth, growth
from ckptd.policy.rhythm import Rhythm

HORIZON: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A run and the rhythm of its saves; *under_way*: more of them are expected."""

    run: Run
    rhythm: Rhythm
    under_way: bool

    @property
    def held(self) -> int:
        """Bytes that would come free if all its checkpoints went."""
        return sum(self._sizes())

    def needed(self, saves: int) -> int:
        """Bytes of that many *saves*, one being written and the others the largest there are."""
        larger = sorted((size - self.rhythm.bytes for size in self._sizes()), reverse=True)
        return saves * self.rhythm.bytes + sum(max(0, more) for more in larger[: saves - 1])

    def _sizes(self) -> Iterator[int]:
        return (c.frees for c in self.run.checkpoints)

    @property
    def best(self) -> bool:
        """Whether a best checkpoint is kept that need not be among the newest."""
        recorded = any(c.recorded_best for c in self.run.checkpoints)
        return recorded or self.run.best_metric is not None

    def kept_by_trainer(self, limit: int) -> int:
        """How many saves a trainer keeps with this `save_total_limit`: its best is one of them."""
        return max(limit, 2 if self.best else 1)

    def kept_by_policy(self, keep_last: int) -> int:
        """How many saves ckptd keeps at most with this `keep_last`: its best comes on top."""
        return keep_last + self.best

    @property
    def growth(self) -> Growth:
        """How fast and how far it grows by itself; a trainer that rotates stops growing."""
        limit = self.run.trainer_limit
        kept = None if limit is None else self.kept_by_trainer(limit)
        return growth(self.run, self.rhythm, kept=kept)


@dataclass(frozen=True)
class Ground:
    """One run among those that write to its filesystem at the same time.

    `room` are the bytes that may still be written there before its `high` mark.
    """

    subject: Subject
    others: tuple[Subject, ...]
    filesystem: Filesystem
    room: int

    @property
    def together(self) -> tuple[Subject, ...]:
        return (self.subject, *self.others)

    @cached_property
    def for_checkpoints(self) -> int:
        """Bytes that the checkpoints of all these runs may take together."""
        return self.room + sum(subject.held for subject in self.together)

    def needed(self, kept: Kept, count: int) -> int:
        """Bytes at the worst moment: all write the next save before they let go of the oldest."""
        return sum(s.needed(saves) for s, saves in self.saves(kept, count))

    def saves(self, kept: Kept, count: int) -> Iterator[tuple[Subject, int]]:
        """How many saves each run has at that moment; others keep to a limit of their own."""
        for s in self.together:
            limit = None if s is self.subject else s.run.trainer_limit
            yield s, (kept(s, count) if limit is None else s.kept_by_trainer(limit)) + 1

    def largest(self, kept: Kept) -> int:
        """The largest count that fits; 0 when not even 1 does."""
        most = max(0, self.for_checkpoints) // max(1, self.subject.rhythm.bytes)
        return bisect_left(
            range(1, most + 1),
            True,
            key=lambda count: self.needed(kept, count) > self.for_checkpoints,
        )

    @property
    def next_saves(self) -> int:
        """Bytes that one more save of each run takes, before any of them lets go of one."""
        return sum(s.rhythm.bytes for s in self.together)

    @property
    def share(self) -> int:
        """The part of the room that is for this run, by how much each writes."""
        bounded = [s.growth[1] for s in self.others if s.growth[1] < inf]
        pace = self.subject.rhythm.bytes_per_hour
        paces = [s.rhythm.bytes_per_hour for s in self.others if s.growth[1] == inf]
        return int(max(0, self.room - sum(bounded)) * pace / (pace + sum(paces)))


Kept = Callable[[Subject, int], int]


@dataclass(frozen=True, slots=True)
class Spacing:
    """How many `steps` must lie between the saves of HORIZON (`of_steps`) for all to be kept.

    `saves` is how many fit into the run's share; `enough`: what is set now fits as it is.
    """

    steps: int
    of_steps: int
    saves: int
    enough: bool


def spacing(ground: Ground) -> Spacing | None:
    """The spacing that fits; None where no rhythm is known or not even one more save fits."""
    rhythm = ground.subject.rhythm
    if not (rhythm.seconds and rhythm.steps and rhythm.seconds_per_step):
        return None
    saves = ground.share // max(1, rhythm.bytes)
    of_steps = ceil(HORIZON / rhythm.seconds_per_step)
    if saves < 1:
        return None
    least = ceil(of_steps / saves)
    if least <= rhythm.steps:
        return Spacing(rhythm.steps, of_steps, saves, enough=True)
    return Spacing(_rounded_up(least), of_steps, saves, enough=False)


def _rounded_up(steps: int) -> int:
    """To two digits that tell: nobody sets save_steps to 1143."""
    unit = int("1".ljust(len(str(steps)) - 1, "0"))
    return -(-steps // unit) * unit
