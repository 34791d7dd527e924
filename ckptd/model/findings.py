"""What a format read in one claim, from its bytes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ckptd.model.words import Role


class Marker(StrEnum):
    """What the file that a format writes last says about a save."""

    CURRENT = "current"  # there, readable, not older than the rest
    LATE_FILES = "late_files"  # there, but files came after it that its writer orders freely
    STALE = "stale"  # older than the weights: a newer save may have been cut short here
    TORN = "torn"  # there, and cut off or unreadable
    FOREIGN = "foreign"  # readable, but it speaks of another save
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Part:
    """The files of a checkpoint that have one role; `bytes` on disk, each inode once."""

    role: Role
    files: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class RecordedBest:
    """The checkpoint that a trainer's own state names as its best, and by which value."""

    name: str
    step: int | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a format read in one claim. From bytes alone: no clock, no process, no sibling.

    `roles` are the kinds of file present, for comparison between siblings; `damage` holds one
    sentence for each piece of positive evidence; `doubts` what speaks neither way. `names` are the
    entries that came with the save.
    """

    recognised: bool
    step: int | None
    saved_at: datetime
    marker: Marker
    marker_text: str
    parts: tuple[Part, ...] = ()
    damage: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()
    ranks: int = 0
    resumable: bool = False
    weights_whole: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: RecordedBest | None = None
    trainer_limit: int | None = None
    names: frozenset[str] = frozenset()
