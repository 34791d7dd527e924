"""The words that every room shares, and how file times become moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MOMENT = datetime(1, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(9999, 12, 31, tzinfo=UTC)
DROP_IN = ".ckptd.toml"  # the name of an experiment's own configuration
TRASH = ".ckptd-trash"  # the name of the directory, in its place
EVENTS = (
    "recognised",
    "evict",
    "set_aside",
    "slim",
    "archive",
    "purge",
    "restore",
    "pin",
    "unpin",
    "adopt",
    "finish",
    "refuse",
    "broken",
    "diverged",
    "pressure",
    "relieved",
    "shortfall",
    "unreadable",
    "frozen",
    "config",
    "watch",
    "ledger",
)  # the kinds of audit events that somebody may ask to be told of


def moment(nanoseconds: int) -> datetime:
    """The moment that a file time in *nanoseconds* since 1970 names, to the microsecond.

    A time past what a datetime holds (hostile or broken file times) becomes its bound.
    """
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return LAST_MOMENT if nanoseconds > 0 else FIRST_MOMENT


class Kind(StrEnum):
    """What lies under a name."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


class Role(StrEnum):
    """What a file of a checkpoint is for; `slim` and replay depend on it."""

    WEIGHTS = "weights"
    OPTIMIZER = "optimizer"
    RNG = "rng"
    OTHER = "other"


class Health(StrEnum):
    """What is known about a checkpoint's wholeness (DESIGN section 3)."""

    WRITING = "writing"
    COMPLETE = "complete"
    BROKEN = "broken"
    UNPROVEN = "unproven"


class Standing(StrEnum):
    """How firmly a checkpoint is kept, strongest first."""

    HELD = "held"
    FIRM = "firm"
    SOFT = "soft"
    SURPLUS = "surplus"


class ActionKind(StrEnum):
    """One step that ckptd may take; `keep` is the step of taking none."""

    KEEP = "keep"
    EVICT = "evict"
    SET_ASIDE = "set_aside"
    SLIM = "slim"
    ARCHIVE = "archive"
    PURGE = "purge"
    RESTORE = "restore"
