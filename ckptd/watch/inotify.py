"""inotify(7) as Python has it not: one descriptor, watched directories, raw events."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# linux/inotify.h
CLOSE_WRITE: Final = 0x0008
MOVED_FROM: Final = 0x0040
MOVED_TO: Final = 0x0080
CREATE: Final = 0x0100
DELETE: Final = 0x0200
DELETE_SELF: Final = 0x0400
MOVE_SELF: Final = 0x0800
UNMOUNT: Final = 0x2000
Q_OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
_ONLYDIR: Final = 0x0100_0000
_DONT_FOLLOW: Final = 0x0200_0000
_EXCL_UNLINK: Final = 0x0400_0000
_MASK_ADD: Final = 0x2000_0000
# Adding only ever widens: one directory may be watched under two paths (a bind mount, a rename).
_ALWAYS: Final = _ONLYDIR | _DONT_FOLLOW | _EXCL_UNLINK | _MASK_ADD | DELETE_SELF | MOVE_SELF

_HEADER: Final = struct.Struct("iIII")
_BUFFER: Final = 256 * 1024
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Stir:
    """One event: the number of the watch, what happened, and to which name in the directory."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One descriptor. Every method may be called from any thread; after `close`, none."""

    def __init__(self) -> None:
        """Raises OSError (EMFILE: fs.inotify.max_user_instances is reached)."""
        self._fd = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    def add(self, path: str, mask: int) -> int:
        """The number of the watch on the directory *path*; the same one for the same directory.

        Raises OSError: ENOENT, ENOTDIR (a link, too), EACCES, ENOSPC (no watch left).
        """
        added = _libc.inotify_add_watch(
            self._fd, os.fsencode(path), ctypes.c_uint32(mask | _ALWAYS)
        )
        return _checked(added, path)

    def remove(self, watch: int) -> None:
        """Ends a watch; one that the kernel has already ended is no error."""
        if _libc.inotify_rm_watch(self._fd, watch) < 0 and ctypes.get_errno() != errno.EINVAL:
            raise _failure("inotify")

    def wait(self, timeout: float) -> None:
        """Waits for events or `wake`, at most *timeout* seconds."""
        self._poll.poll(timeout * 1000)

    def wake(self) -> None:
        """Ends a `wait`, now and for ever: there is nothing left to wait for."""
        os.eventfd_write(self._wake, 1)

    def read(self) -> list[Stir]:
        """The events that have come since; none when there are none."""
        try:
            raw = os.read(self._fd, _BUFFER)
        except BlockingIOError:
            return []
        return list(_stirs(raw))

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._wake)


def _stirs(raw: bytes) -> Iterator[Stir]:
    at = 0
    while at < len(raw):
        watch, mask, _, length = _HEADER.unpack_from(raw, at)
        at += _HEADER.size
        yield Stir(watch, mask, os.fsdecode(raw[at : at + length].rstrip(b"\0")))
        at += length


def _checked(result: int, about: str) -> int:
    if result < 0:
        raise _failure(about)
    return result


def _failure(about: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), about)
