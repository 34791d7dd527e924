"""Free space between two looks: whoever fills a disk rings no bell, so somebody must watch it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Final

from ckptd.disk import free as free_at
from ckptd.errors import UnreadableError
from ckptd.model import Filesystem, Relief
from ckptd.mounts import asked

# Bytes a second that no disk is filled faster with: so long nothing can happen to the room there.
FASTEST: Final = 2**30
LEAST: Final = 0.25
# Of a limit that is all but reached less than this share of it is no news.
NEWS: Final = 0.01


@dataclass(frozen=True, slots=True)
class _Floor:
    """Of one filesystem: with less free than this (bytes, inodes), it is looked at again."""

    path: str
    bytes: int
    inodes: int

    def is_passed(self, beat: Callable[[], None]) -> bool:
        with suppress(UnreadableError):  # the next look says so
            free, inodes_free = asked(self.path, lambda: free_at(self.path), beat)
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
        measured = [need for need in reliefs if need.filesystem.total]
        disks = {n.filesystem.mount: n.filesystem for n in measured if not n.filesystem.limit}
        floors, rooms = [], []
        for need in measured:
            limited = need.filesystem.limit
            if disk := disks.get(need.filesystem.mount) if limited else need.filesystem:
                floors.append(_floor_of(need, disk))
                rooms.append(disk.free - floors[-1].bytes)
        interval = max(LEAST, min(rooms) / FASTEST) if rooms else inf
        return cls(tuple(floors), interval)

    def is_broken(self, beat: Callable[[], None] = lambda: None) -> bool:
        """Whether there is less room somewhere than the last look knew of.

        *beat* is called while a filesystem keeps us waiting.
        """
        return any(floor.is_passed(beat) for floor in self.floors)


def _floor_of(need: Relief, disk: Filesystem) -> _Floor:
    """Where more is demanded than may go already, only a further fall is news.

    Of a limit on a part of the *disk* nobody tells what is free: at the worst all that is written
    to the disk is written there.
    """
    filesystem = need.filesystem
    floor = need.floor if filesystem.free >= need.floor else filesystem.free // 2
    if filesystem.limit:
        room = max(filesystem.free - floor, int(NEWS * filesystem.total))
        return _Floor(filesystem.path, disk.free - room, 0)
    inodes_are_there = filesystem.inodes_free >= need.inodes_floor
    inodes = need.inodes_floor if inodes_are_there else filesystem.inodes_free // 2
    return _Floor(filesystem.path, floor, inodes)
