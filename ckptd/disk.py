"""Filesystems: how much room there is, and whether events of other hosts arrive."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Literal, TypeVar

from ckptd.beneath import open_nearest
from ckptd.errors import UnreadableError
from ckptd.model import Filesystem
from ckptd.mounts import UNKNOWN, Mount, now

Events = Literal["inotify", "poll", "both"]
T = TypeVar("T")

# One host writes these, and every change of it raises an event here.
_LOCAL: Final = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs3"}
    | {"ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
# Filesystems that write a file's block again where it lies.
_IN_PLACE: Final = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs"})
SQLITE_PAGE: Final = 4096


def measure(path: str) -> Filesystem:
    """What statvfs says of *path* itself: a project quota may give it less than its mount has.

    Of a path that does not exist yet, its nearest ancestor is measured. Bytes and inodes;
    UnreadableError where the system does not say.
    """
    return _asked(path, lambda fd: _filesystem(path, os.statvfs(fd), _mount(fd)))


def free(path: str) -> tuple[int, int]:
    """Bytes and inodes that an ordinary user may still use at *path*; as quick as can be.

    UnreadableError as `measure`.
    """
    return _asked(path, lambda fd: _free(os.statvfs(fd)))


def maps_hold(path: str) -> bool:
    """Whether what is mapped from a file at *path* can be written to when the disk is full.

    SQLite gives its WAL's shared memory one byte in each 4 KiB. Where a block is smaller, or where
    writing takes a new one (btrfs, zfs), the rest has no room on a full disk, and the kernel ends
    whoever writes there with SIGBUS. Nor do maps reach other hosts. Raises UnreadableError.
    """
    return _asked(path, lambda fd: _maps_hold(_mount(fd).fstype, _block(os.statvfs(fd))))


def _maps_hold(fstype: str, block: int) -> bool:
    return fstype in _IN_PLACE and block >= SQLITE_PAGE


def events_arrive(path: str) -> Events:
    """How changes at *path* become known: by inotify, only by polling, or by both together.

    inotify can be asked of a network filesystem, but stays silent about other hosts; overlayfs
    is silent about writes to its layers. UnreadableError as `measure`.
    """
    mount = _asked(path, _mount)
    if mount.fstype in _LOCAL:
        return "inotify"
    return "poll" if mount.shared and mount.fstype != UNKNOWN else "both"


def _filesystem(path: str, room: os.statvfs_result, mount: Mount) -> Filesystem:
    block = _block(room)
    return Filesystem(
        path=path,
        mount=mount.point,
        fstype=mount.fstype,
        total=room.f_blocks * block,
        used=(room.f_blocks - room.f_bfree) * block,
        free=_free(room)[0],
        inodes_total=room.f_files,
        inodes_free=room.f_favail,
        shared=mount.shared,
    )


def _free(room: os.statvfs_result) -> tuple[int, int]:
    return room.f_bavail * _block(room), room.f_favail


def _block(room: os.statvfs_result) -> int:
    return room.f_frsize or room.f_bsize  # some FUSE filesystems leave f_frsize 0


def _asked(path: str, question: Callable[[int], T]) -> T:
    try:
        with open_nearest(path) as fd:
            return question(fd)
    except OSError as error:
        why = error.strerror or str(error)
        raise UnreadableError(f"the filesystem of {path} cannot be measured: {why}") from error


def _mount(fd: int) -> Mount:
    """The mount that *fd* lies in: by its number, as paths mislead where mounts are stacked."""
    device = os.fstat(fd).st_dev
    number, pair = _mount_id(fd), (os.major(device), os.minor(device))
    mounts = now().every
    same = [m for m in mounts if m.id == number] or [m for m in mounts if m.device == pair]
    return same[-1] if same else Mount(number, 0, pair, "/", UNKNOWN)  # hidden by a chroot


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("mnt_id:")), -1)
