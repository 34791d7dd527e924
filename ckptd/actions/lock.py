"""One ckptd acts on a watch: a lock in its trash directory, on the watch's own filesystem."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ckptd import beneath
from ckptd.actions.place import find_place, open_trash
from ckptd.errors import RefusedError
from ckptd.trash import opened

FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# Another user's lock cannot be opened, but somebody made it: that one acts.
HELD: Final = (errno.EWOULDBLOCK, errno.EACCES, errno.EPERM)


@dataclass(slots=True)
class Locks:
    """The locks this process holds, by watch and by run. They end with the process."""

    _held: dict[str | tuple[int, int], int] = field(default_factory=dict)

    def take(self, watch: str, is_run: Callable[[str], bool]) -> bool:
        """Whether this process may act on *watch*; False when another ckptd does.

        The lock lies with the trash. Where none can be made (no place, read-only, full),
        nothing arbitrates and True is answered: the acts themselves are atomic, and a full
        disk must not stop relief.
        """
        if watch in self._held:
            return True
        try:
            place = find_place(watch, watch, is_run) if is_run(watch) else watch
            trash_fd = _open_trash(place)
        except (RefusedError, OSError):
            return True
        with opened(trash_fd):
            try:
                fd = _locked(_name(watch), trash_fd)
            except OSError as error:
                return error.errno not in HELD or not _lies_in(trash_fd, _name(watch))
        self._held[watch] = fd
        return True

    def take_run(self, run: str) -> bool:
        """Whether this process may act in *run*; False when another ckptd does.

        A BSD lock on the run's directory: another watch, above or below ours, meets it there.
        True where it cannot be asked for (the act itself will say why).
        """
        try:
            fd = beneath.open_directory(run)
        except OSError:
            return True
        seen = os.fstat(fd)
        key = (seen.st_dev, seen.st_ino)
        try:
            if key not in self._held:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._held[key] = os.dup(fd)
        except OSError as error:
            return error.errno != errno.EWOULDBLOCK
        finally:
            os.close(fd)
        return True

    def release(self) -> None:
        """Lets go of all of them."""
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()


def _open_trash(place: str) -> int:
    with opened(beneath.open_directory(place)) as place_fd:
        seen = os.fstat(place_fd)
        return open_trash(place_fd, seen.st_uid, seen.st_gid)


def _name(watch: str) -> str:
    """A lock of this watch alone: several runs beside each other share one trash."""
    return f"{hashlib.blake2b(os.fsencode(watch), digest_size=8).hexdigest()}.lock"


def _locked(name: str, trash_fd: int) -> int:
    """A descriptor of the lock *name* that holds it. OSError, one of HELD where another does."""
    fd = os.open(name, FLAGS, 0o600, dir_fd=trash_fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _lies_in(trash_fd: int, name: str) -> bool:
    """Whether somebody has made the lock *name*: else we may only not make one."""
    try:
        os.lstat(name, dir_fd=trash_fd)
    except OSError:
        return False
    return True
