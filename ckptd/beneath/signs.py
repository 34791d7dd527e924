"""Signs on a file or directory that it is used or wanted: leases, locks, pins."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from typing import Final

from ckptd.beneath.moving import writable

PIN: Final = "user.ckptd.pin"
_NO_PIN: Final = {errno.ENODATA, errno.EOPNOTSUPP}
_NO_LEASES: Final = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP}
_NO_LOCKS: Final = {errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}


def ignore_lease_signals() -> None:
    """To be called once, in the main thread, before the first `open_for`.

    Who opens a file in the microseconds of a lease makes the kernel send SIGIO to its holder,
    and the default action of that ends the process.
    """
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def open_for(fd: int, *, write_only: bool) -> bool | None:
    """Whether a process has the regular file *fd* open: at all (or mapped), or to write.

    *fd* is O_RDONLY; every container of this host is seen, other hosts are not. None where
    leases prove nothing: not the owner, or a filesystem without them. Ask on local filesystems
    only (NFSv4 answers as if in use), and with no second descriptor of that file of our own.
    """
    kind = fcntl.F_RDLCK if write_only else fcntl.F_WRLCK
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, kind)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return True
        if error.errno in _NO_LEASES:
            return None
        raise
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def locked(dir_fd: int) -> bool:
    """Whether some process holds a BSD lock on the directory (False where there are none)."""
    try:
        fcntl.flock(dir_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return True
        if error.errno in _NO_LOCKS:
            return False
        raise
    fcntl.flock(dir_fd, fcntl.LOCK_UN)
    return False


def pinned(fd: int) -> bool:
    """Whether the checkpoint *fd* carries a pin (an extended attribute: its mtime stays)."""
    try:
        os.getxattr(fd, PIN)
    except OSError as error:
        if error.errno in _NO_PIN:
            return False
        raise
    return True


def pin(fd: int) -> None:
    """Mark the directory *fd* as pinned. OSError EOPNOTSUPP where there are no such attributes."""
    with writable(fd):
        os.setxattr(fd, PIN, b"1")


def unpin(fd: int) -> None:
    """Take the mark away; without effect where there is none."""
    try:
        with writable(fd):
            os.removexattr(fd, PIN)
    except OSError as error:
        if error.errno not in _NO_PIN:
            raise
