"""Bounded reads of foreign files, and what may come of them: whole, damaged, or not known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ckptd.formats.base import Peek
from ckptd.model import Entry, Kind
from ckptd.units import show_bytes, show_text

MOST_JSON: Final = 64 * 2**20
# Memory that the values of one JSON text may take; ten times its own length is usual, 30 possible.
MOST_MEMORY: Final = 448 * 2**20
# Bytes that Python takes at least for what such a sign begins, and for one more value in it.
_WEIGHTS: Final = {b"{": 240, b"[": 90, b",": 70, b":": 60}
# Python writes no number of more than 4300 digits, so nothing may be reckoned with one near that.
_TOO_LONG: Final = re.compile(rb"(?<![0-9])[0-9]{1000}")
_PIECE: Final = 8 * 2**20

Found = TypeVar("Found")


class DamagedError(Exception):
    """Positive evidence that a file is not whole; `str()` of it follows the file's name."""


class UnsureError(Exception):
    """A file that can neither be shown to be whole nor to be damaged, and why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the file at `path`, in one sentence; `proven` means positive damage."""

    path: str
    text: str
    proven: bool


def attempt(reader: Callable[[Entry, Peek], Found], entry: Entry, peek: Peek) -> Found | Fault:
    """What *reader* returns for *entry*, or the fault that it met. Raises nothing for content.

    What cannot be read is never damage: any OSError of *peek* is a doubt.
    """
    shown = show_text(entry.path)
    if entry.kind is not Kind.FILE:
        return Fault(entry.path, f"{shown} is no regular file, so it is not read", proven=False)
    try:
        return _steady(reader, entry, peek)
    except DamagedError as error:
        return Fault(entry.path, f"{shown} {error}", proven=True)
    except UnsureError as error:
        return Fault(entry.path, f"{shown} {error}", proven=False)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Fault(entry.path, f"{shown} could not be read: {reason}", proven=False)


def _steady(reader: Callable[[Entry, Peek], Found], entry: Entry, peek: Peek) -> Found:
    """What *reader* returns; damage counts only in a file that is still as long as listed."""
    try:
        return reader(entry, peek)
    except DamagedError as error:
        last = min(entry.size, 1)
        if len(peek(entry.path, entry.size - last, 2)) != last:
            raise UnsureError("changed while it was looked at") from error
        raise


def read(entry: Entry, peek: Peek, offset: int, length: int) -> bytes:
    """Exactly *length* bytes at *offset*, which the listing says are there.

    Raises UnsureError when the file has become shorter since it was listed.
    """
    pieces: list[bytes] = []
    while length > 0:
        piece = peek(entry.path, offset, min(length, _PIECE))
        if not piece:
            raise UnsureError("changed while it was looked at")
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)


def read_json(entry: Entry, peek: Peek) -> Any:
    """The value that a JSON file of at most 64 MiB holds; DamagedError or UnsureError."""
    if entry.size > MOST_JSON:
        raise UnsureError(f"is {show_bytes(entry.size)} long, too long to be read")
    if entry.size == 0:
        raise DamagedError("is empty")
    return parse_json(read(entry, peek, 0, entry.size))


def number(value: object) -> float | None:
    """A number of a JSON text as a float; None for anything else, and for one too large."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text, NaN and Infinity allowed as trainers write them; DamagedError.

    UnsureError for one whose values would take more than 448 MiB of memory.
    """
    memory = sum(raw.count(sign) * weight for sign, weight in _WEIGHTS.items())
    if memory > MOST_MEMORY:
        raise UnsureError(f"would take {show_bytes(memory)} of memory, too much to be read")
    try:
        value = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DamagedError(f"is not JSON: byte {error.start} is no UTF-8") from error
    except json.JSONDecodeError as error:
        cut = " (cut off)" if error.pos >= len(error.doc.rstrip()) else ""
        where = f"line {error.lineno}, column {error.colno}"
        raise DamagedError(f"is not JSON{cut}: {error.msg} at {where}") from error
    except ValueError as error:  # a number of more digits than Python converts
        raise DamagedError("holds a number too long to be read") from error
    except RecursionError as error:
        raise DamagedError("is not JSON that can be read: it is nested too deeply") from error
    if _TOO_LONG.search(raw):
        raise UnsureError("holds a number too long to be reckoned with")
    return value
