"""What a ckptd sees, as a reader of its document needs it. Taken apart at the door.

Documents come out of files that others wrote: whatever is not as it should be is a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from ckptd.render.document import VERSION, Document

T = TypeVar("T")
_LARGEST: Final = 2**63


@dataclass(frozen=True, slots=True)
class Teller:
    """The daemon that a report comes from. `looked_at` is when it last wrote."""

    pid: int
    uid: int
    command: str
    mode: str
    watches: tuple[str, ...]
    looked_at: datetime


@dataclass(frozen=True, slots=True)
class DiskShown:
    """One filesystem: bytes free, demanded, missing and for the next saves.

    Seconds until it is full, if nothing goes and if all goes that may; None where not known.
    """

    path: str
    state: str
    used_percent: float
    free: int
    demand: int
    shortfall: int
    inodes_demand: int
    inodes_shortfall: int
    reserve: int
    full_in_seconds: float | None
    spent_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class RunShown:
    """One run: its checkpoints in numbers. `goes` and `goes_bytes` are those that would go.

    `diverged_since` is the step since which its training has diverged, None where it has not.
    """

    path: str
    format: str
    adopted: bool
    live: bool
    finished: bool
    diverged_since: int | None
    checkpoints: int
    bytes: int
    newest_step: int | None
    newest_at: datetime | None
    goes: int
    goes_bytes: int


@dataclass(frozen=True, slots=True)
class Happened:
    """One event: when, and its sentence."""

    at: datetime
    event: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """One document and its parts. `teller` is None when the reader looked for itself."""

    document: Document
    teller: Teller | None
    disks: tuple[DiskShown, ...]
    runs: tuple[RunShown, ...]
    unreadable: tuple[tuple[str, str], ...]
    frozen: tuple[tuple[str, str], ...]
    trash_items: int
    trash_bytes: int
    events: tuple[Happened, ...]


def report_of(document: Mapping[str, Any]) -> Report:
    """The report in *document*; ValueError with half a sentence when it holds none."""
    if document.get("version") != VERSION:
        raise ValueError("another version of ckptd wrote it")
    try:
        return _report(dict(document))
    except (KeyError, TypeError, AttributeError, OverflowError):
        raise ValueError("it is not what a ckptd writes") from None


def _report(document: Document) -> Report:
    daemon, trash = document.get("daemon"), document["trash"]
    _each(trash["runs"], _trashed)
    return Report(
        document,
        None if daemon is None else _teller(daemon),
        _each(document["filesystems"], _disk),
        _each(document["runs"], _run),
        _each(document["unreadable"], _lost),
        _each(document["frozen"], _lost),
        _count(trash["items"]),
        _count(trash["bytes"]),
        _each(document.get("events", []), _happened),
    )


def _teller(daemon: Document) -> Teller:
    return Teller(
        _count(daemon["pid"]),
        _count(daemon["uid"]),
        _text(daemon["command"]),
        _text(daemon["mode"]),
        _each(daemon["watches"], _text),
        _moment(daemon["looked_at"]),
    )


def _disk(disk: Document) -> DiskShown:
    _text(disk["mount"])
    return DiskShown(
        _text(disk["path"]),
        _text(disk["state"]),
        _number(disk["used_percent"]),
        _count(disk["free"]),
        _count(disk["demand"]),
        _count(disk["shortfall"]),
        _count(disk.get("inodes_demand", 0)),  # ckptds before this one wrote no such keys
        _count(disk.get("inodes_shortfall", 0)),
        _count(disk.get("reserve", 0)),
        _seconds(disk["full_in_seconds"]),
        _seconds(disk.get("spent_in_seconds")),
    )


def _seconds(value: Any) -> float | None:
    return None if value is None else _number(value)


def _run(run: Document) -> RunShown:
    checkpoints = run["checkpoints"]
    going = [c for c in checkpoints if c["action"] != "keep"]
    newest = checkpoints[-1] if checkpoints else None
    diverged = run.get("diverged")
    return RunShown(
        _text(run["path"]),
        _text(run["format"]),
        _truth(run["adopted"]),
        _truth(run["live"]),
        _truth(run["finished"]),
        None if diverged is None else _whole(diverged["since"]),
        len(checkpoints),
        sum(_count(c["bytes"]) for c in checkpoints),
        None if newest is None or newest["step"] is None else _whole(newest["step"]),
        None if newest is None else _moment(newest["saved_at"]),
        len(going),
        sum(_count(c["bytes"]) for c in going),
    )


def _lost(lost: Document) -> tuple[str, str]:
    return _text(lost["path"]), _text(lost["error"])


def _trashed(run: Document) -> tuple[str, int, int]:
    return _text(run["path"]), _count(run["items"]), _count(run["bytes"])


def _happened(event: Document) -> Happened:
    for name in ("run", "checkpoint"):
        if event.get(name) is not None:
            _text(event[name])
    return Happened(_moment(event["at"]), _text(event["event"]), _text(event["message"]))


# --- one value ---------------------------------------------------------------------------


def _each(values: Any, take: Callable[[Any], T]) -> tuple[T, ...]:
    return tuple(take(value) for value in _typed(values, list))


def _text(value: Any) -> str:
    return str(_typed(value, str))


def _truth(value: Any) -> bool:
    return bool(_typed(value, bool))


def _whole(value: Any) -> int:
    if type(value) is not int:  # a bool is an int as well
        raise TypeError
    return value


def _count(value: Any) -> int:
    if not 0 <= _whole(value) < _LARGEST:
        raise ValueError("it holds a number that is no size")
    return int(value)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        raise ValueError("it holds a time that is none") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _typed(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError
    return value
