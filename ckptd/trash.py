"""What lies in the trash: `.ckptd-trash/<uid>/<id>`, each with a sidecar `<id>.json`.

The directory of a uid is its shelf. A sidecar tells by itself, without any ledger, where its item
came from. Its bytes are foreign: whoever owns the shelf may have written anything into it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from ckptd import beneath
from ckptd.errors import RefusedError
from ckptd.model import FIRST_MOMENT, TRASH, ActionKind, TrashItem, Unreadable, moment
from ckptd.units import show_text

ID: Final = re.compile(r"[a-z]{16}")
PURGING: Final = "purging"  # follows the id of an item whose purge has begun

_LONGEST_SIDECAR: Final = 64 * 1024
_LONGEST_REASON: Final = 1000
_LARGEST: Final = 2**63 - 1  # no file is larger, and no step greater
_LONGEST_SPAN: Final = 1000 * 366 * 86_400.0  # as long as any span in a configuration
_MOST_ITEMS: Final = 20_000
_MOST_NAMES: Final = 200_000
# A shelf of somebody else, one that vanished, or a thing that is no directory.
_NO_SHELF: Final = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class Shelf:
    """An open `.ckptd-trash/<uid>` in *place*; valid inside `shelves` or `shelf_of` only."""

    place: str
    uid: int
    gid: int
    fd: int


def items(place: str) -> tuple[TrashItem, ...]:
    """What lies in the trash of the absolute *place*, oldest first; nothing where there is none.

    An item without a usable sidecar has known=False. Raises OSError.
    """
    found = [item for shelf in shelves(place) for item in _items_on(shelf)]
    return tuple(sorted(found, key=lambda item: (item.trashed_at, item.id)))


def find(place: str, id: str) -> TrashItem | None:  # noqa: A002 - the word of DESIGN section 4
    """The item *id* in the trash of *place*, or None."""
    return next((item for item in items(place) if item.id == id), None)


def below(
    watch: str,
    places: Sequence[str] = (),
    recall: Callable[[TrashItem], TrashItem] = lambda item: item,
) -> tuple[tuple[TrashItem, ...], tuple[Unreadable, ...]]:
    """Items that came from *watch* or below, and what of its trash could not be read.

    They may lie in the watch, in a directory above it (where the watch is itself a run), or in
    *places* below it (`scan.Survey.places`). *recall* is asked about items without a sidecar.
    """
    found: list[TrashItem] = []
    unreadable: list[Unreadable] = []
    for place in dict.fromkeys((*places, watch, *_above(watch))):
        try:
            told = (item if item.known else recall(item) for item in items(place))
            found += (item for item in told if _came_from(item, watch))
        except OSError as error:
            if error.errno not in _NO_SHELF:
                unreadable.append(Unreadable(f"{place}/{TRASH}", str(error.strerror).lower()))
    return tuple(found), tuple(unreadable)


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _came_from(item: TrashItem, watch: str) -> bool:
    inside = watch.rstrip("/") + "/"
    return f"{item.run}/".startswith(inside) or (not item.known and item.place == watch)


# --- shelves -----------------------------------------------------------------------------


def shelves(place: str) -> Iterator[Shelf]:
    """Each shelf in *place* that we may read, open until the next. Raises OSError."""
    with suppress(FileNotFoundError), ExitStack() as open_ones:
        place_fd = open_ones.enter_context(opened(beneath.open_directory(place)))
        trash_fd = open_ones.enter_context(opened(beneath.open_beneath(place_fd, TRASH)))
        for name in sorted(filter(_is_uid, os.listdir(trash_fd))):
            try:
                fd = beneath.open_beneath(trash_fd, name)
            except OSError as error:
                if error.errno not in _NO_SHELF:
                    raise
                continue
            with opened(fd):
                if sound(fd, int(name)):
                    yield Shelf(place, int(name), os.fstat(fd).st_gid, fd)


@contextmanager
def shelf_of(item: TrashItem) -> Iterator[Shelf]:
    """The shelf that *item* lies on. Raises OSError, and RefusedError for one not its owner's."""
    with ExitStack() as open_ones:
        place_fd = open_ones.enter_context(opened(beneath.open_directory(item.place)))
        fd = open_ones.enter_context(opened(beneath.open_beneath(place_fd, f"{TRASH}/{item.uid}")))
        if not sound(fd, item.uid):
            path = show_text(f"{item.place}/{TRASH}/{item.uid}")
            raise RefusedError(f"{path} is not its owner's alone, so nothing in it is touched")
        yield Shelf(item.place, item.uid, os.fstat(fd).st_gid, fd)


def sound(fd: int, uid: int) -> bool:
    """Whether the shelf *fd* belongs to *uid*, who alone can write to it."""
    seen = os.fstat(fd)
    return seen.st_uid == uid and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextmanager
def opened(fd: int) -> Iterator[int]:
    """The descriptor *fd*, closed at the end."""
    try:
        yield fd
    finally:
        os.close(fd)


def _is_uid(name: str) -> bool:
    return re.fullmatch(r"0|[1-9]\d{0,9}", name, re.ASCII) is not None


# --- sidecars ----------------------------------------------------------------------------


def sidecar(item: TrashItem) -> bytes:
    """The sidecar's text for *item*; the run's path relative to the place, so both may move."""
    fields = {
        "version": 1,
        "run": os.path.relpath(item.run, item.place),
        "name": item.name,
        "step": item.step,
        "bytes": item.bytes,
        "saved_at": item.saved_at.isoformat(),
        "trashed_at": item.trashed_at.isoformat(),
        "action": item.action.value,
        "weights_whole": item.weights_whole,
        "reason": item.reason[:_LONGEST_REASON],
        "trash_for": item.trash_for,
        "inodes": item.inodes,
    }
    # Escapes everything but ASCII, the surrogates that stand for bytes of no UTF-8 among it.
    return json.dumps(fields, indent=1).encode("ascii") + b"\n"


def _items_on(shelf: Shelf) -> list[TrashItem]:
    """Read as its owner: a sidecar may be a hard link to what that user cannot read."""
    with beneath.as_owner(shelf.uid, shelf.gid):
        names = [name for name in listed(shelf.fd) if ID.fullmatch(name.removesuffix(PURGING))]
        found = (_item(shelf, name) for name in sorted(names)[:_MOST_ITEMS])
        return [item for item in found if item]


def _item(shelf: Shelf, name: str) -> TrashItem | None:
    """None where it has gone or is no directory."""
    id_ = name.removesuffix(PURGING)  # what a purge could not unlink is still to be purged
    try:
        seen = os.lstat(name, dir_fd=shelf.fd)
    except FileNotFoundError:
        return None
    return (
        (_known(shelf, id_) or _unknown(shelf, id_, seen)) if stat.S_ISDIR(seen.st_mode) else None
    )


def listed(fd: int) -> list[str]:
    """Names on a shelf, as many of them as anybody may have there for a reason."""
    with os.scandir(fd) as names:
        return [entry.name for entry in islice(names, _MOST_NAMES)]


def _known(shelf: Shelf, name: str) -> TrashItem | None:
    try:
        fd = beneath.open_file(shelf.fd, f"{name}.json")
    except OSError:
        return None  # whatever the reason, no record tells where the item came from
    with opened(fd):
        raw = os.pread(fd, _LONGEST_SIDECAR + 1, 0)
    if len(raw) > _LONGEST_SIDECAR:
        return None
    try:
        return _understood(json.loads(raw), shelf, name)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _understood(fields: Any, shelf: Shelf, id_: str) -> TrashItem:
    step = fields["step"]
    return TrashItem(
        id=id_,
        place=shelf.place,
        uid=shelf.uid,
        run=os.path.join(shelf.place, _path(fields["run"])),
        name=_path(fields["name"], parts=1),
        step=None if step is None else _count(step),
        bytes=_count(fields["bytes"]),
        saved_at=_moment(fields["saved_at"]),
        trashed_at=_moment(fields["trashed_at"]),
        action=ActionKind(fields["action"]),
        weights_whole=fields["weights_whole"] is True,
        reason=str(fields["reason"])[:_LONGEST_REASON],
        trash_for=_span(fields.get("trash_for", 0)),  # older ones do not say
        inodes=_count(fields.get("inodes", 1)),
    )


def _unknown(shelf: Shelf, id_: str, seen: os.stat_result) -> TrashItem:
    return TrashItem(
        id=id_,
        place=shelf.place,
        uid=shelf.uid,
        run=f"{shelf.place}/{TRASH}/{shelf.uid}",
        name=id_,
        step=None,
        bytes=0,
        saved_at=FIRST_MOMENT,
        trashed_at=moment(seen.st_ctime_ns),
        action=ActionKind.EVICT,
        known=False,
    )


def _path(text: Any, *, parts: int | None = None) -> str:
    """*text* if it is a plain relative path that leads down; ValueError else."""
    names = text.split("/") if isinstance(text, str) else []
    down = names and not any(name in {"", ".", ".."} or "\0" in name for name in names)
    if not down or (parts and len(names) != parts):
        raise ValueError(f"{text!r} leads elsewhere")
    os.fsencode(text)  # a surrogate that stands for no byte is a ValueError as well
    return str(text)


def _count(number: Any) -> int:
    if type(number) is not int or not 0 <= number <= _LARGEST:
        raise ValueError(f"{number!r} is no count")
    return number


def _span(number: Any) -> float:
    if type(number) not in (int, float) or not 0 <= number <= _LONGEST_SPAN:
        raise ValueError(f"{number!r} is no span")
    return float(number)


def _moment(text: Any) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return found.astimezone(UTC)  # OverflowError where that is before or after all years
