"""One installed file: written, kept or removed, and never what a person has made of it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from ckptd.install.seal import is_untouched, sealed

Did = Literal["wrote", "kept", "removed", "failed"]
_MODE: Final = 0o644
_CHANGED: Final = "it is not what was installed, so it is somebody's"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be at the absolute *path*. `theirs`: from then on it is the person's."""

    path: str
    text: str
    theirs: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What was done with one file, or would be; `why` of what was kept.

    `amiss`: something else is there than was wanted.
    """

    path: str
    did: Did
    why: str = ""
    amiss: bool = False


def put(wanted: Wanted, *, dry: bool) -> Done:
    """Writes it unless a person has something else there."""
    try:
        there = _content(wanted.path)
        kept = _kept(wanted, there)
        if kept is None and not dry:
            _write(wanted.path, sealed(wanted.text))
    except OSError as error:
        return Done(wanted.path, "failed", error.strerror or str(error), amiss=True)
    return kept or Done(wanted.path, "wrote")


def _kept(wanted: Wanted, there: bytes | None) -> Done | None:
    """Why what is *there* stays; None where it does not."""
    if there == sealed(wanted.text).encode():
        return Done(wanted.path, "kept", "it is as it should be")
    if there is None or (is_untouched(there) and not wanted.theirs):
        return None
    if wanted.theirs:
        return Done(wanted.path, "kept", "it is yours")
    return Done(wanted.path, "kept", f"{_CHANGED}; remove it to have it installed", amiss=True)


def take(path: str, *, dry: bool) -> Done | None:
    """Removes it if it still is what was installed; None where nothing is."""
    try:
        there = _content(path)
        if there is None:
            return None
        if not is_untouched(there):
            return Done(path, "kept", _CHANGED)
        if not dry:
            os.unlink(path)
    except OSError as error:
        return Done(path, "failed", error.strerror or str(error), amiss=True)
    return Done(path, "removed")


def clear(places: Sequence[str]) -> None:
    """Removes those of the directories *places* that are empty."""
    for place in places:
        with suppress(OSError):
            os.rmdir(place)


def _content(path: str) -> bytes | None:
    """What lies at *path*; None where nothing does; no bytes for what is no plain file (a mask)."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
    except FileNotFoundError:
        return None
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    """In one step, so that systemd never reads half a unit."""
    place, name = os.path.split(path)
    os.makedirs(place, exist_ok=True)
    fd, new = tempfile.mkstemp(prefix=f".{name}.", dir=place)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(fd, _MODE)
            file.flush()
            os.fsync(fd)
        os.replace(new, path)
    except OSError:
        os.unlink(new)
        raise
