"""A second place for intents, where the ledger's own disk fails: beside the trash of a watch.

It is on the filesystem that is acted upon, so whoever can act there can record it there. Its slots
are laid out while there is room. Only this user can write them, whoever else may write in the
directory; and only what concerns this place is believed.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

from ckptd.errors import LedgerError
from ckptd.ledger.held import Slot
from ckptd.ledger.record import ACTS, Record
from ckptd.ledger.slots import FullError, Slots
from ckptd.units import show_text

COUNT: Final = 32  # slots of one file: half a mebibyte
MOST: Final = 64  # files: what is let go there in days on which nobody mends the ledger's disk
_NAME: Final = re.compile(r"(\d+)(?:-(\d+))?\.intents", re.ASCII)


def has_refuge(trash_fd: int) -> bool:
    """Whether this user has a refuge in the open trash directory. OSError."""
    return bool(_names(trash_fd))


def _names(trash_fd: int) -> list[str]:
    found = (_NAME.fullmatch(name) for name in os.listdir(trash_fd))
    ours = (match for match in found if match and int(match[1]) == os.geteuid())
    return [match[0] for match in sorted(ours, key=lambda match: int(match[2] or 0))]


class Refuge:
    """The slot files of this user in the open trash directory of *place*, one behind the other.

    The first is laid out where there is none. Raises LedgerError.
    """

    def __init__(self, place: str, trash_fd: int) -> None:
        self.place = place
        self._directory = os.dup(trash_fd)
        self._shown = os.readlink(f"/proc/self/fd/{trash_fd}")
        self._files: list[Slots] = []
        try:
            for name in _names(trash_fd) or [_name(0)]:
                self._files.append(self._opened(name))
        except (OSError, LedgerError):
            self.close()
            raise

    def close(self) -> None:
        """Lets go of its files; intents without an outcome are unfinished from now on."""
        for file in self._files:
            file.close()
        os.close(self._directory)

    @property
    def stands(self) -> bool:
        """Whether it still lies where it lay: a person may have removed the trash."""
        try:
            here, there = os.fstat(self._directory), os.lstat(self._shown)
        except OSError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def concerns(self, record: Record) -> bool:
        """Whether *record* is an act below this place. Of all else this is no witness."""
        below = f"{record.run}/".startswith(self.place.rstrip("/") + "/")
        return record.event in ACTS and below

    def intend(self, record: Record) -> None:
        """Writes an intent and returns when it is on the disk; LedgerError when it is not."""
        for file in self._files:
            with suppress(FullError):
                _there(file).intend(record)
                return
        self._another().intend(record)

    def keep(self, record: Record) -> None:
        """Writes what came of an act whose intent lies elsewhere. LedgerError."""
        kept = any(_there(file).keep(record, COUNT) for file in self._files)
        if not kept and not self._another().keep(record, COUNT):
            raise LedgerError(f"{show_text(record.checkpoint)} cannot be recorded: it is too long")

    def read(self) -> list[tuple[Slots, Slot]]:
        """All that lies here and concerns this place, each with its file. LedgerError."""
        held = ((file, slot) for file in self._files for slot in file.read())
        return [(file, slot) for file, slot in held if self.concerns(slot.record)]

    def tidy(self) -> None:
        """Removes the files behind the first that hold nothing any more."""
        for file in self._files[:0:-1]:
            if file.read():
                return
            with suppress(OSError):
                os.unlink(os.path.basename(file.path), dir_fd=self._directory)
            file.close()
            self._files.remove(file)

    def _another(self) -> Slots:
        """One file more: what was let go before has made room for it. LedgerError."""
        if len(self._files) >= MOST:
            raise LedgerError(f"{MOST * COUNT} records wait in {show_text(self._shown)} already")
        number = 1 + max(_number(file.path) for file in self._files)
        self._files.append(self._opened(_name(number)))
        return self._files[-1]

    def _opened(self, name: str) -> Slots:
        path = os.path.join(self._shown, name)
        return Slots(path, directory=self._directory, count=COUNT)


def _there(file: Slots) -> Slots:
    """*file*, made anew where somebody has removed it."""
    if file.is_gone:
        file.renew()
    return file


def _name(number: int) -> str:
    return f"{os.geteuid()}-{number}.intents" if number else f"{os.geteuid()}.intents"


def _number(path: str) -> int:
    match = _NAME.fullmatch(os.path.basename(path))
    return int(match[2] or 0) if match else 0
