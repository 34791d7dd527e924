"""What a policy is: rules, limits in seconds, marks on a disk. Values, true when built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ckptd.model import Filesystem
from ckptd.policy.rules import KeepBest, KeepLast, Rule
from ckptd.units import Share

GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Levels:
    """What is kept while there is room (`rules`), and what even when there is none (`firm`)."""

    rules: tuple[Rule, ...]
    firm: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept while there is room (`rules`), and what even when there is none (`firm`).

    `finished` takes the place of both once a run is over; None: they go on to hold. `pin` are
    patterns of names; all spans are in seconds; `max_size` are the bytes that the checkpoints of a
    run may hold together. `frozen` says why nobody knows what is wanted: then nothing is touched.
    """

    rules: tuple[Rule, ...] = (KeepLast(None), KeepBest(1))
    firm: tuple[Rule, ...] = (KeepLast(2), KeepBest(1))
    finished: Levels | None = None
    pin: tuple[str, ...] = ()
    max_size: int | None = None
    min_age: float = 0.0
    settle: float = 5.0
    broken_after: float = 86_400.0
    trash_for: float = 3_600.0
    finished_after: float = 86_400.0
    frozen: str | None = None

    def levels(self, *, finished: bool) -> Levels:
        """What holds for a run that is *finished*, or is not."""
        if finished and self.finished:
            return self.finished
        return Levels(self.rules, self.firm)


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks on a disk: letting go starts at `high` and ends at `low`; `hard` is the alarm.

    A share is of what users can use, an integer is bytes used. `max_headroom` (bytes) bounds
    what the share of `high` may ask for: 15 % of 100 TB is not a need. `low` and `hard` are
    bounded in proportion, so that they stay apart. `reserve` (bytes) is for the next saves; None:
    as much as they are seen to need.
    """

    high: Share | int = Share(85)
    low: Share | int = Share(80)
    hard: Share | int = Share(95)
    max_headroom: int = 150 * GIB
    reserve: int | None = None


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy of each run and the marks of each filesystem, with what holds elsewhere."""

    default: Policy = Policy()
    by_run: Mapping[str, Policy] = field(default_factory=dict)
    marks: Marks = Marks()
    by_filesystem: Mapping[str, Marks] = field(default_factory=dict)

    def of(self, run: str) -> Policy:
        return self.by_run.get(run, self.default)

    def marks_of(self, filesystem: Filesystem) -> Marks:
        """The marks that are set for the watch or the nearest place above it on its mount, else
        for all.
        """
        inside = f"{filesystem.path}/"
        above = [
            place
            for place in self.by_filesystem
            if inside.startswith(f"{place.rstrip('/')}/") and len(place) >= len(filesystem.mount)
        ]
        found = max((filesystem.mount, *above), key=len)
        return self.by_filesystem.get(found, self.marks)
