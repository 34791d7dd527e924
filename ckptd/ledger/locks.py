"""Locks on single bytes of a file that end with the process that holds them.

Open-file-description locks: the older kind is lost as soon as anything in the process closes
the same file. They hold over containers and, through its lock manager, over the hosts of an NFS
mount, where a process number would say nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import Final

_FLOCK: Final = struct.Struct("hhqqi0q")  # struct flock with 64-bit offsets, padded to its size


def lock(fd: int, start: int) -> bool:
    """Takes the byte at *start* for this open file; False when another one has it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, start))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock(fd: int, start: int) -> None:
    """Lets the byte at *start* go."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, start))


def locked(fd: int, start: int) -> bool:
    """Whether another open file has the byte at *start*; *fd* may be open for reading only."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, start))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _flock(kind: int, start: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, start, 1, 0)
