"""Acting and reading in the rights of the files' owner."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import pwd
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ckptd.beneath.libc import libc

# setgroups(2), the call itself: glibc's function of that name changes all threads.
_SETGROUPS: Final = {
    "x86_64": 116,
    "aarch64": 159,
    "riscv64": 159,
    "loongarch64": 159,
    "ppc64le": 81,
    "s390x": 206,
}
# Seconds for which a user's groups are remembered: asking may mean a server of the network.
_GROUPS_HOLD: Final = 600.0
_groups_of: Final[dict[int, tuple[float, tuple[int, ...]]]] = {}


@contextmanager
def as_owner(uid: int, gid: int) -> Iterator[None]:
    """Reach files in the rights of *uid* meanwhile, where we are root; *gid* is the files' group.

    Only this thread changes (setfsuid, and setgroups as a bare system call), so a race that
    somebody wins against us does no more than they could have done themselves. A group counts
    where the user is in it, or is one that this system does not know. Without effect for others
    than root, and for uid 0. Not to be held over a `yield`: the thread goes on elsewhere.
    """
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    groups, before = _groups(uid), os.getgroups()
    try:
        _set_groups(groups)
        _set_fs(libc.setfsgid, gid if gid in groups or not groups else groups[0])
        _set_fs(libc.setfsuid, uid)
        yield
    finally:
        _set_fs(libc.setfsuid, os.geteuid())
        _set_fs(libc.setfsgid, os.getegid())
        _set_groups(before)


@contextmanager
def as_owner_of(dir_fd: int, path: str) -> Iterator[None]:
    """`as_owner` of what lies at *path* below *dir_fd*, or of the nearest above it that shows.

    For a filesystem on which root is nobody (NFS with root_squash). Without effect in the rights
    of an owner already: nobody's failure may turn into somebody else's rights.
    """
    if os.geteuid() != 0 or libc.setfsuid(ctypes.c_uint32(0xFFFFFFFF)) != 0:
        yield
        return
    uid, gid = _owner_seen(dir_fd, path)
    with as_owner(uid, gid):
        yield


def _owner_seen(dir_fd: int, path: str) -> tuple[int, int]:
    while path:
        try:
            seen = os.lstat(path, dir_fd=dir_fd)
        except OSError:
            path = os.path.dirname(path)
        else:
            return seen.st_uid, seen.st_gid
    seen = os.fstat(dir_fd)
    return seen.st_uid, seen.st_gid


def _groups(uid: int) -> tuple[int, ...]:
    """The groups of a user, the primary one first; empty for one that this system does not know."""
    asked, known = _groups_of.get(uid, (float("-inf"), ()))
    if time.monotonic() - asked < _GROUPS_HOLD:
        return known
    try:
        user = pwd.getpwuid(uid)
        others = os.getgrouplist(user.pw_name, user.pw_gid)
        known = (user.pw_gid, *(group for group in others if group != user.pw_gid))
    except (KeyError, OSError):
        known = ()
    _groups_of[uid] = (time.monotonic(), known)
    return known


def _set_groups(groups: Sequence[int]) -> None:
    number = _SETGROUPS.get(platform.machine())
    if number is None:
        raise PermissionError(errno.EPERM, "may not change groups on this kind of processor")
    array = (ctypes.c_uint32 * len(groups))(*groups)
    size = ctypes.c_size_t(len(groups))
    if libc.syscall(ctypes.c_long(number), size, array) != 0:
        raise PermissionError(errno.EPERM, "may not leave our groups")


def _set_fs(call: Callable[[ctypes.c_uint32], int], wanted: int) -> None:
    call(ctypes.c_uint32(wanted))
    # It reports no error: only the next call, which changes nothing, tells what holds now.
    if call(ctypes.c_uint32(0xFFFFFFFF)) != wanted:
        raise PermissionError(errno.EPERM, f"may not act in the rights of {wanted}")
