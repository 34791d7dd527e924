"""Unlinking a whole tree: no recursion, two descriptors, no link followed, no mount entered."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ckptd.beneath.opening import ALWAYS, DIRECTORY, open_beneath
from ckptd.errors import RefusedError


def unlink_tree(
    dir_fd: int, name: str, *, device: int, inode: int, beat: Callable[[], None] = lambda: None
) -> int:
    """Unlink the directory *name* in *dir_fd* and all below it; return the bytes that freed.

    Those are the blocks of every inode whose last name went. Nothing is unlinked unless *name*
    is the directory (*device*, *inode*): RefusedError. Any depth, with two descriptors. What is
    gone already is fine; a mount point inside is OSError EXDEV. *beat* is called after each file;
    what it raises ends the unlinking there.
    """
    unlinking = _Unlinking(dir_fd, name, (device, inode), beat)
    try:
        unlinking.unlink_files()
        while unlinking.trail:
            if unlinking.trail[-1].below:
                unlinking.descend()
            else:
                unlinking.ascend()
    finally:
        os.close(unlinking.here)
    return unlinking.freed


@dataclass(slots=True)
class _Level:
    """A directory on the way down: its name above, who it is, and what still lies in it."""

    name: str
    identity: tuple[int, int]
    below: list[str] = field(default_factory=list)


class _Unlinking:
    """A walk down a tree that unlinks; `here` is its one descriptor, the way up is `..`."""

    def __init__(
        self, top: int, name: str, wanted: tuple[int, int], beat: Callable[[], None]
    ) -> None:
        self.top = top
        self.beat = beat
        self.freed = 0
        self.here = _enter(top, name)
        self.trail = [_Level(name, _identity(self.here))]
        if self.trail[0].identity != wanted:
            os.close(self.here)
            raise RefusedError(f"{name} is no longer the directory that was to be unlinked")

    def descend(self) -> None:
        name = self.trail[-1].below.pop()
        with suppress(FileNotFoundError):
            self._move(_enter(self.here, name))
            self.trail.append(_Level(name, _identity(self.here)))
            self.unlink_files()

    def ascend(self) -> None:
        level = self.trail.pop()
        blocks = os.fstat(self.here).st_blocks
        if self.trail:
            self._move(os.open("..", DIRECTORY | ALWAYS, dir_fd=self.here))
            if _identity(self.here) != self.trail[-1].identity:
                raise RefusedError(f"{level.name} was moved elsewhere while it was unlinked")
        with suppress(FileNotFoundError):
            os.rmdir(level.name, dir_fd=self.here if self.trail else self.top)
            self.freed += blocks * 512

    def _move(self, fd: int) -> None:
        os.close(self.here)
        self.here = fd

    def unlink_files(self) -> None:
        for name in os.listdir(self.here):
            with suppress(FileNotFoundError):
                seen = os.lstat(name, dir_fd=self.here)
                if stat.S_ISDIR(seen.st_mode):
                    self.trail[-1].below.append(name)
                    continue
                os.unlink(name, dir_fd=self.here)
                self.freed += seen.st_blocks * 512 if seen.st_nlink == 1 else 0
            self.beat()


def _identity(fd: int) -> tuple[int, int]:
    seen = os.fstat(fd)
    return seen.st_dev, seen.st_ino


def _enter(dir_fd: int, name: str) -> int:
    """Open the directory *name* so that its owner may list it, change it and leave it."""
    door = open_beneath(dir_fd, name, os.O_PATH | os.O_DIRECTORY)
    try:
        mode = stat.S_IMODE(os.fstat(door).st_mode)
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            # fchmod refuses an O_PATH descriptor, and without permission to read there is no other.
            os.chmod(f"/proc/self/fd/{door}", mode | stat.S_IRWXU)
        return open_beneath(door, ".")
    finally:
        os.close(door)
