"""Which mount a path lies on, as the kernel lists them: no filesystem is touched by asking."""

from __future__ import annotations

import os
import re
import select
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

UNKNOWN: Final = "unknown"
# Other hosts may write these. FUSE is among them: nothing tells where its files really lie.
_SHARED: Final = re.compile(
    r"9p|afs|beegfs|ceph|cifs|coda|daos|gfs2?|glusterfs|gpfs|lustre|nfs\d*|ocfs2|orangefs"
    r"|panfs|pvfs2|smb[23]|smbfs|virtiofs|wekafs|fuse.*"
)
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount; `parent` is the id of the one that it is mounted on."""

    id: int
    parent: int
    device: tuple[int, int]
    point: str
    fstype: str

    @property
    def shared(self) -> bool:
        """Whether other hosts may write here; so it is held to be where nobody knows."""
        return self.fstype == UNKNOWN or _SHARED.fullmatch(self.fstype) is not None

    @property
    def may_hang(self) -> bool:
        """Whether it takes somebody else to answer what is asked of it: a server, a process."""
        return self.shared or self.fstype == "autofs"


@dataclass(frozen=True, slots=True)
class Mounts:
    """The mounts of one moment, in the order they were made."""

    every: Sequence[Mount] = ()
    # Where may_hang ones are, each with a slash at its end: most paths lie at none of them.
    points: tuple[str, ...] = ()

    @classmethod
    def of(cls, every: Sequence[Mount]) -> Mounts:
        points = {_inside(mount.point) for mount in every if mount.may_hang}
        return cls(every, tuple(sorted(points)))

    def hanging_at(self, path: str) -> Mount | None:
        """The mount that may hang whoever goes to the absolute real *path*; None where none does.

        That is the last one on the way there, though what is mounted in it is another.
        """
        if not self.points or not _inside(path).startswith(self.points):
            return None
        return next((mount for mount in reversed(self._way(path)) if mount.may_hang), None)

    def at(self, path: str) -> Mount | None:
        """The mount that the absolute real *path* lies on; None where a chroot hides it."""
        return next(reversed(self._way(path)), None)

    def points_in(self, directory: str) -> frozenset[str]:
        """The names in the real *directory* at which a filesystem is mounted that may hang."""
        if not self.points:
            return frozenset()
        above = _inside(directory)
        below = (p[len(above) : -1] for p in self.points if p.startswith(above))
        return frozenset(name for name in below if name and "/" not in name)

    def _way(self, path: str) -> Sequence[Mount]:
        """The mounts from the root down to *path*.

        What lies below a mount that was made over it later is hidden by that one.
        """
        way = []
        known = {mount.id for mount in self.every}
        here = next((m for m in self.every if m.point == "/" and m.parent not in known), None)
        inside = _inside(path)
        while here is not None:
            way.append(here)
            under = here.id
            over = [m for m in self.every if m.parent == under and m.id != under]
            over = [m for m in over if inside.startswith(_inside(m.point))]
            here = min(over, key=lambda mount: len(mount.point), default=None)
        return way


@dataclass(slots=True)
class _Table:
    """What was read last, and the descriptor that tells when that has changed."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    fd: int = -1
    mounts: Mounts = field(default_factory=Mounts)


_table: Final = _Table()


def now() -> Mounts:
    """The mounts of this process; read again only when the kernel says that they have changed."""
    with _table.lock:
        if _table.fd < 0:
            _table.fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        elif not _has_changed(_table.fd):
            return _table.mounts
        _table.mounts = Mounts.of(tuple(map(_mount, _lines(_table.fd))))
        return _table.mounts


def of_process(pid: int) -> Mounts:
    """The mounts that process *pid* sees; none where it has ended or is kept from us."""
    try:
        fd = os.open(f"/proc/{pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Mounts()
    try:
        return Mounts.of(tuple(map(_mount, _lines(fd))))
    except OSError:
        return Mounts()
    finally:
        os.close(fd)


def _has_changed(fd: int) -> bool:
    """proc_pid_mounts(5): the file is marked as having a priority event."""
    poll = select.poll()
    poll.register(fd, select.POLLPRI)
    return bool(poll.poll(0))


def _lines(fd: int) -> Sequence[str]:
    os.lseek(fd, 0, os.SEEK_SET)
    chunks = bytearray()
    while chunk := os.read(fd, 65536):
        chunks += chunk
    # A carriage return is not escaped there, and a user may mount (FUSE) on a name that has one.
    return [os.fsdecode(line) for line in bytes(chunks).split(b"\n") if line]


def _mount(line: str) -> Mount:
    """A line of mountinfo. proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    number, parent, device, _, point, *_ = before.split(" ")
    major, minor = device.split(":")
    fstype = _unescaped(after.split(" ")[0])
    pair = (int(major), int(minor))
    return Mount(int(number), int(parent), pair, _unescaped(point), fstype)


def _unescaped(text: str) -> str:
    r"""A field of mountinfo, where space, tab, newline and backslash are `\040` and so on."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def _inside(point: str) -> str:
    return f"{point.rstrip('/')}/"
