"""Whether a demand is met: measured after each act, since a promise of space is no space."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ckptd import disk, procs
from ckptd.model import Relief
from ckptd.mounts import asked, asked_around
from ckptd.procs import Keeper

# XFS hands unlinked blocks back in the background, in some tenths of a second; where snapshots or
# servers may keep them it takes longer to be sure that nothing comes.
SPACE_COMES_WITHIN: Final = 0.5
SURE_WITHIN: Final = 3.0
POLL_EVERY: Final = 0.02
# Here they are free at once; what does not come is in use again, or kept by an open file.
_AT_ONCE: Final = frozenset({"ext2", "ext3", "ext4", "ramfs", "tmpfs"})
# Nothing but an open file keeps unlinked blocks here: what does not come free is written again.
_NO_SNAPSHOTS: Final = _AT_ONCE | {"f2fs", "xfs"}


@dataclass(slots=True)
class Meter:
    """Of one demand while a plan is carried out. *beat* is called while space is waited for.

    Under a limit that no statvfs shows (a quota, a capacity) what was unlinked is counted. Every
    question raises UnansweredError where the filesystem does not answer.
    """

    need: Relief
    beat: Callable[[], None]
    _before: tuple[int, int] = (0, 0)
    _counted: int = 0

    def start(self) -> None:
        """An act begins that may free something."""
        if not self.need.filesystem.limit:
            self._before = self._free()

    def kept_back(self, freed: int) -> tuple[int, tuple[Keeper, ...]]:
        """How many of the bytes that an act *freed* do not come free, and who keeps them.

        Others write meanwhile and may have as much again: that keeps nothing back.
        """
        self._counted += freed
        place = self.need.filesystem
        late = 0.0 if place.fstype in _AT_ONCE else SPACE_COMES_WITHIN
        if place.limit or self._comes(freed // 2, late):
            return 0, ()
        keepers = asked_around(lambda: procs.keepers(place.mount, place.path), self.beat)
        if place.fstype in _NO_SNAPSHOTS:
            return min(freed, sum(keeper.bytes for keeper in keepers)), keepers
        came = self._comes(freed // 2, SURE_WITHIN)
        return (0, ()) if came else (freed, keepers)

    def _comes(self, wanted: int, within: float) -> bool:
        """Whether *wanted* bytes more are free than before the act, in so many seconds.

        Or inodes, where these are what is needed.
        """
        until = time.monotonic() + within
        while not self._has_come(wanted):
            if time.monotonic() >= until:
                return False
            self.beat()
            time.sleep(POLL_EVERY)
        return True

    def _has_come(self, wanted: int) -> bool:
        (free, inodes), (free_before, inodes_before) = self._free(), self._before
        return free - free_before >= wanted or bool(self.need.inodes and inodes > inodes_before)

    def _free(self) -> tuple[int, int]:
        path = self.need.filesystem.path
        return asked(path, lambda: disk.free(path), self.beat)

    @property
    def is_met(self) -> bool:
        """Whether nothing more is needed."""
        need, place = self.need, self.need.filesystem
        if place.limit:
            return self._counted >= need.demand
        free, inodes_free = self._free()
        lacks = need.demand > 0 and free < place.free + need.demand
        return not lacks and not (need.inodes and inodes_free < place.inodes_free + need.inodes)
