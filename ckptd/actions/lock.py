"""One ckptd acts on a watch: a lock in its trash directory, on the watch's own filesystem.

Each user has a lock file of their own there, since one that anybody may make and hold would stop
everybody's ckptd. Whose hold counts: root's, one's own, and that of whom the place belongs to.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ckptd import beneath
from ckptd.actions.place import find_place, open_trash
from ckptd.errors import RefusedError, UnansweredError, UnreadableError
from ckptd.model import TRASH
from ckptd.mounts import asked
from ckptd.trash import opened

FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# proc_locks(5): number, kind, ..., pid, device:inode. Held by a process that we cannot ask.
_FLOCK: Final = re.compile(r"^\d+: FLOCK .* [0-9a-f]+:[0-9a-f]+:(\d+) ", re.MULTILINE)


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
        if (trash_fd := _trash_for(watch, is_run)) is None:
            return True
        with opened(trash_fd):
            try:
                fd = _locked(_name(watch, os.geteuid()), trash_fd)
            except OSError as error:
                # A file of ours that others hold is another ckptd of ours; else none can be made.
                fd, mine = -1, error.errno == errno.EWOULDBLOCK
            else:
                mine = False
            if mine or any(_held_by(uid, watch, trash_fd) for uid in _others(watch)):
                if fd >= 0:
                    os.close(fd)
                return False
        if fd >= 0:
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
            return error.errno != errno.EWOULDBLOCK or not _by_one_who_may(seen)
        finally:
            os.close(fd)
        return True

    def release(self) -> None:
        """Lets go of all of them."""
        held, self._held = self._held, {}
        for place, fd in held.items():
            with suppress(UnansweredError):  # its server is told as soon as it listens
                asked(place if isinstance(place, str) else "/", partial(os.close, fd))


def is_held(watch: str, is_run: Callable[[str], bool]) -> bool | None:
    """Whether a ckptd acts on *watch*; None where only its user can tell. Makes nothing.

    The lock is asked for and given back at once: one that just starts stands by for a moment.
    """
    try:
        with (
            opened(beneath.open_directory(place_of(watch, is_run))) as place_fd,
            opened(beneath.open_beneath(place_fd, TRASH)) as trash_fd,
        ):
            return any(_held_by(uid, watch, trash_fd) for uid in {os.geteuid(), *_others(watch)})
    except (PermissionError, UnreadableError):
        return None
    except (OSError, RefusedError):
        return False


def place_of(watch: str, is_run: Callable[[str], bool]) -> str:
    """The directory whose trash holds the lock of *watch*. RefusedError, OSError."""
    return find_place(watch, watch, is_run) if is_run(watch) else watch


def _trash_for(watch: str, is_run: Callable[[str], bool]) -> int | None:
    """The trash that the lock of *watch* lies in; None where none can be made or read."""
    try:
        return open_trash_of(place_of(watch, is_run))
    except UnansweredError:
        raise
    except (RefusedError, UnreadableError, OSError):
        return None


def open_trash_of(place: str) -> int:
    with opened(beneath.open_directory(place)) as place_fd:
        seen = os.fstat(place_fd)
        return open_trash(place_fd, seen.st_uid, seen.st_gid)


def _name(watch: str, uid: int) -> str:
    """A lock of this watch alone: several runs beside each other share one trash."""
    return f"{hashlib.blake2b(os.fsencode(watch), digest_size=8).hexdigest()}-{uid}.lock"


def _others(watch: str) -> set[int]:
    """Whose ckptd may act on *watch* besides ours: root's, and that of its directory's owner."""
    try:
        return {0, os.stat(watch).st_uid} - {os.geteuid()}
    except OSError:
        return {0} - {os.geteuid()}


def _locked(name: str, trash_fd: int) -> int:
    """A descriptor of our lock *name* that holds it. OSError, EWOULDBLOCK where another does."""
    fd = os.open(name, FLAGS, 0o600, dir_fd=trash_fd)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "put there by somebody else", name)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _held_by(uid: int, watch: str, trash_fd: int) -> bool:
    """Whether a process holds the lock of *uid*; one that died has left its file, and no lock."""
    try:
        seen = os.lstat(_name(watch, uid), dir_fd=trash_fd)
    except OSError:
        return False
    if seen.st_uid != uid:
        return False
    try:
        with opened(beneath.open_file(trash_fd, _name(watch, uid))) as fd:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except PermissionError:
        return str(seen.st_ino) in _FLOCK.findall(_locks())
    except OSError:
        return False
    return False


def _by_one_who_may(directory: os.stat_result) -> bool:
    """Whether somebody who may act in the open *directory* holds its lock.

    Whoever may read a directory can lock it, and would keep every ckptd out. A holder that does
    not show (another host, another container) may be a ckptd.
    """
    lines = (line.split() for line in _locks().splitlines())
    pids = [w[4] for w in lines if w[1] == "FLOCK" and w[5].endswith(f":{directory.st_ino}")]
    owners = set()
    for pid in pids:
        try:
            owners.add(os.stat(f"/proc/{pid}").st_uid)
        except OSError:
            return True
    return not owners or not owners.isdisjoint({0, os.geteuid(), directory.st_uid})


def _locks() -> str:
    try:
        with open("/proc/locks") as file:
            return file.read()
    except OSError:
        return ""
