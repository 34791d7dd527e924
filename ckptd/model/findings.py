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
class Divergence:
    """A training whose numbers went non-finite and stayed so until the end of what is known.

    `what` names the number (`grad_norm`, `loss`, `eval_loss` or a tensor) and `value` what it
    became (`nan`, `inf`, `-inf`), `since` the step at which that was first seen, `finite_at` the
    last step at which it was seen not to be so. Not `proven` while it may yet pass.
    """

    what: str
    value: str
    since: int
    finite_at: int | None = None
    proven: bool = True

    def __str__(self) -> str:
        return f"{self.what} is {self.value} since step {self.since}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a format read in one claim. From bytes alone: no clock, no process, no sibling.

    `roles` are the kinds of file present, for comparison between siblings; `damage` holds one
    sentence for each piece of positive evidence; `doubts` what speaks neither way. `names` are the
    entries that came with the save. `divergence` is what its own log ends with; `sampled` are some
    tensors of its weights and what the first number in them that is not finite is, if any.
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
    divergence: Divergence | None = None
    sampled: Mapping[str, str | None] = field(default_factory=dict)
