"""Filesystems: how much room there is, and whether events of other hosts arrive."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from ckptd.errors import UnreadableError
from ckptd.model import Filesystem

Events = Literal["inotify", "poll", "both"]
T = TypeVar("T")

UNKNOWN: Final = "unknown"
# One host writes these, and every change of it raises an event here.
_LOCAL: Final = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs3"}
    | {"ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
# Other hosts may write these. FUSE is among them: nothing tells where its files really lie.
_SHARED: Final = re.compile(
    r"9p|afs|beegfs|ceph|cifs|coda|daos|gfs2?|glusterfs|gpfs|lustre|nfs\d*|ocfs2|orangefs"
    r"|panfs|pvfs2|smb[23]|smbfs|virtiofs|wekafs|fuse.*"
)
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class _Mount:
    id: int
    device: tuple[int, int]
    point: str
    fstype: str

    @property
    def shared(self) -> bool:
        """Whether other hosts may write here; so it is held to be where nobody knows."""
        return self.fstype == UNKNOWN or _SHARED.fullmatch(self.fstype) is not None


def measure(path: str) -> Filesystem:
    """What statvfs says of *path* itself: a project quota may give it less than its mount has.

    Of a path that does not exist yet, its nearest ancestor is measured. Bytes and inodes;
    UnreadableError where the system does not say.
    """
    return _asked(path, lambda fd: _filesystem(path, os.statvfs(fd), _mount(fd)))


def free_bytes(path: str) -> int:
    """Bytes that an ordinary user may still write at *path*. UnreadableError as `measure`."""
    return _asked(path, lambda fd: _free(os.statvfs(fd)))


def events_arrive(path: str) -> Events:
    """How changes at *path* become known: by inotify, only by polling, or by both together.

    inotify can be asked of a network filesystem, but stays silent about other hosts; overlayfs
    is silent about writes to its layers. UnreadableError as `measure`.
    """
    mount = _asked(path, _mount)
    if mount.fstype in _LOCAL:
        return "inotify"
    return "poll" if mount.shared and mount.fstype != UNKNOWN else "both"


def _filesystem(path: str, room: os.statvfs_result, mount: _Mount) -> Filesystem:
    block = _block(room)
    return Filesystem(
        path=path,
        mount=mount.point,
        fstype=mount.fstype,
        total=room.f_blocks * block,
        used=(room.f_blocks - room.f_bfree) * block,
        free=_free(room),
        inodes_total=room.f_files,
        inodes_free=room.f_favail,
        shared=mount.shared,
    )


def _free(room: os.statvfs_result) -> int:
    return room.f_bavail * _block(room)


def _block(room: os.statvfs_result) -> int:
    return room.f_frsize or room.f_bsize  # some FUSE filesystems leave f_frsize 0


def _asked(path: str, question: Callable[[int], T]) -> T:
    try:
        with _nearest(path) as fd:
            return question(fd)
    except OSError as error:
        why = error.strerror or str(error)
        raise UnreadableError(f"the filesystem of {path} cannot be measured: {why}") from error


@contextmanager
def _nearest(path: str) -> Iterator[int]:
    """A descriptor that only names *path*, or its nearest ancestor that exists."""
    fd = _name(os.path.abspath(path))
    try:
        yield fd
    finally:
        os.close(fd)


def _name(path: str) -> int:
    while True:
        try:
            return os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            if path == "/":
                raise
            path = os.path.dirname(path)


def _mount(fd: int) -> _Mount:
    """The mount that *fd* lies in: by its number, as paths mislead where mounts are stacked."""
    device = os.fstat(fd).st_dev
    number, pair = _mount_id(fd), (os.major(device), os.minor(device))
    mounts = tuple(_mounts())
    same = [m for m in mounts if m.id == number] or [m for m in mounts if m.device == pair]
    return same[-1] if same else _Mount(number, pair, "/", UNKNOWN)  # hidden by a chroot


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("mnt_id:")), -1)


def _mounts() -> Iterator[_Mount]:
    """The mounts of this process, in the order they were made. proc_pid_mountinfo(5)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            number, _, device, _, point, *_ = before.split(" ")
            major, minor = device.split(":")
            fstype = _unescaped(after.split(" ")[0])
            yield _Mount(int(number), (int(major), int(minor)), _unescaped(point), fstype)


def _unescaped(field: str) -> str:
    r"""A field of mountinfo, where space, tab, newline and backslash are `\040` and so on."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
