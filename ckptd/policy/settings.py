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
class Policy:
    """What is kept while there is room (`rules`), and what even when there is none (`firm`).

    `pin` are patterns of names; all spans are in seconds.
    """

    rules: tuple[Rule, ...] = (KeepLast(None), KeepBest(1))
    firm: tuple[Rule, ...] = (KeepLast(2), KeepBest(1))
    pin: tuple[str, ...] = ()
    min_age: float = 0.0
    settle: float = 5.0
    broken_after: float = 86_400.0
    trash_for: float = 3_600.0
    finished_after: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks on a disk: letting go starts at `high` and ends at `low`; `hard` is the alarm.

    A share is of what users can use, an integer is bytes used. `max_headroom` (bytes) bounds
    what the share of `high` may ask for: 15 % of 100 TB is not a need. `low` and `hard` are
    bounded in proportion, so that they stay apart.
    """

    high: Share | int = Share(85)
    low: Share | int = Share(80)
    hard: Share | int = Share(95)
    max_headroom: int = 150 * GIB


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
        """The marks that are set for the watch, else for its mount, else for all."""
        of_mount = self.by_filesystem.get(filesystem.mount, self.marks)
        return self.by_filesystem.get(filesystem.path, of_mount)
