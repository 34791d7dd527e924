"""Free space between two looks: whoever fills a disk rings no bell, so somebody must watch it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Final

from ckptd import disk
from ckptd.errors import UnreadableError
from ckptd.model import Relief
from ckptd.mounts import asked

# Bytes a second that no disk is filled faster with: so long nothing can happen to the room there.
FASTEST: Final = 2**30
LEAST: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Floor:
    """Of one filesystem: with less free than this (bytes, inodes), it is looked at again."""

    path: str
    bytes: int
    inodes: int

    def is_passed(self, beat: Callable[[], None]) -> bool:
        with suppress(UnreadableError):  # the next look says so
            free, inodes_free = asked(self.path, lambda: disk.free(self.path), beat)
            return free < self.bytes or inodes_free < self.inodes
        return False


@dataclass(frozen=True, slots=True)
class Vigil:
    """Asks what is free every `interval` seconds: a thousandth of what a look costs."""

    floors: tuple[_Floor, ...] = ()
    interval: float = inf

    @classmethod
    def over(cls, reliefs: Iterable[Relief]) -> Vigil:
        """A vigil over these filesystems, until the next look at them."""
        disks = [need for need in reliefs if not need.filesystem.limit and need.filesystem.total]
        rooms = [need.filesystem.free - _floor_of(need).bytes for need in disks]
        interval = max(LEAST, min(rooms) / FASTEST) if rooms else inf
        return cls(tuple(map(_floor_of, disks)), interval)

    def is_broken(self, beat: Callable[[], None] = lambda: None) -> bool:
        """Whether there is less room somewhere than the last look knew of.

        *beat* is called while a filesystem keeps us waiting.
        """
        return any(floor.is_passed(beat) for floor in self.floors)


def _floor_of(need: Relief) -> _Floor:
    """Where more is demanded than may go already, only a further fall is news."""
    filesystem = need.filesystem
    return _Floor(
        filesystem.path,
        need.floor if filesystem.free >= need.floor else filesystem.free // 2,
        need.inodes_floor
        if filesystem.inodes_free >= need.inodes_floor
        else filesystem.inodes_free // 2,
    )
