"""Quotas: how much a user or group may still write where the disk itself has room.

What the kernel enforces is known by quotactl(2): ext4, XFS, f2fs, tmpfs and others. Quotas that a
server enforces (NFS, Lustre), that a filesystem keeps to itself (btrfs, ZFS) or that bind an
overlay's upper layer are not seen here; project quotas show in what `disk.measure` says.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from ckptd.beneath import open_nearest
from ckptd.beneath.libc import libc
from ckptd.units import DAY

Whose = Literal["user", "group"]

# linux/quota.h, linux/dqblk_xfs.h. Any filesystem with quotas answers all three.
_Q_GETINFO, _Q_GETQUOTA, _Q_XGETQSTAT = 0x800005, 0x800007, 0x5805
_KINDS: Final[dict[Whose, int]] = {"user": 0, "group": 1}
_ENFORCED: Final[dict[Whose, int]] = {"user": 1 << 1, "group": 1 << 3}
_LIMIT_UNIT: Final = 1024  # of limits in bytes, whatever the filesystem's block is
_UNTOLD: Final = 2**63  # a grace time that nobody tells does not end
_QUOTACTL_FD: Final = 443  # the same number everywhere


class _Limits(ctypes.Structure):
    """struct if_dqblk."""

    _fields_ = (
        ("bytes_hard", ctypes.c_uint64),
        ("bytes_soft", ctypes.c_uint64),
        ("bytes_used", ctypes.c_uint64),
        ("inodes_hard", ctypes.c_uint64),
        ("inodes_soft", ctypes.c_uint64),
        ("inodes_used", ctypes.c_uint64),
        ("bytes_end", ctypes.c_uint64),
        ("inodes_end", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
    )


class _Grace(ctypes.Structure):
    """struct if_dqinfo."""

    _fields_ = (
        ("bytes", ctypes.c_uint64),
        ("inodes", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("valid", ctypes.c_uint32),
    )


class _State(ctypes.Structure):
    """struct fs_quota_stat, of which the flags matter here."""

    _fields_ = (
        ("version", ctypes.c_int8),
        ("flags", ctypes.c_uint16),
        ("rest", ctypes.c_uint64 * 10),
    )


@dataclass(frozen=True, slots=True)
class Quota:
    """What a user or group may have on one filesystem; a write that takes it over gets EDQUOT.

    Bytes and inodes; None where there is no limit. What is used may be above the limit. Bytes are
    counted as the filesystem counts them: whole blocks, its own ones for large files among them,
    and what was written but has no place on the disk yet.
    """

    whose: Whose
    id: int
    bytes_limit: int | None
    bytes_used: int
    inodes_limit: int | None
    inodes_used: int

    @property
    def bytes_free(self) -> int | None:
        """Bytes that may still be written; None where the filesystem alone limits them."""
        return None if self.bytes_limit is None else max(0, self.bytes_limit - self.bytes_used)

    @property
    def inodes_free(self) -> int | None:
        """Files that may still be made; None where the filesystem alone limits them."""
        return None if self.inodes_limit is None else max(0, self.inodes_limit - self.inodes_used)


def quotas(path: str, uid: int, gid: int, *, ahead: float = DAY) -> tuple[Quota, ...]:
    """The limits that are enforced for *uid* and *gid* on the filesystem of *path*.

    Of a path that does not exist yet, its nearest ancestor counts. A hard limit counts always; a
    soft one only where it is in force within *ahead* seconds: its grace time, running or not yet
    begun, is over by then, and from that moment on every write above it is refused. The lower of
    those that count is the limit.

    Empty where there is no quota, and where nobody says: that of others needs CAP_SYS_ADMIN, and a
    mount that is read-only for us does not answer. Nothing is said of the ids 0: root may write
    over any limit, and XFS keeps the defaults of all others there. Where there are no quotas it
    costs one system call beside opening *path*. On a frozen filesystem it waits, as a write does.
    """
    limited: dict[Whose, int] = {"user": uid, "group": gid}
    try:
        with open_nearest(path) as fd:
            return tuple(_enforced(fd, limited, ahead))
    except OSError:
        return ()


def _enforced(fd: int, limited: dict[Whose, int], ahead: float) -> Iterator[Quota]:
    state = _State()
    if not _answered(fd, _Q_XGETQSTAT, "user", 0, state):
        return
    for whose, number in limited.items():
        limits = _Limits()
        if (
            number
            and state.flags & _ENFORCED[whose]
            and _answered(fd, _Q_GETQUOTA, whose, number, limits)
        ):
            quota = _quota(whose, number, limits, _left(fd, whose, limits), ahead)
            if (quota.bytes_limit, quota.inodes_limit) != (None, None):
                yield quota


def _quota(
    whose: Whose, number: int, limits: _Limits, left: tuple[float, float], ahead: float
) -> Quota:
    bytes_left, inodes_left = left
    units = _in_force(limits.bytes_hard, limits.bytes_soft if bytes_left <= ahead else 0)
    return Quota(
        whose=whose,
        id=number,
        bytes_limit=None if units is None else units * _LIMIT_UNIT,
        bytes_used=limits.bytes_used,
        inodes_limit=_in_force(
            limits.inodes_hard, limits.inodes_soft if inodes_left <= ahead else 0
        ),
        inodes_used=limits.inodes_used,
    )


def _in_force(*limits: int) -> int | None:
    return min((limit for limit in limits if limit), default=None)  # 0 is how unlimited is said


def _left(fd: int, whose: Whose, limits: _Limits) -> tuple[float, float]:
    """Seconds until the soft limits for bytes and inodes are refused like hard ones."""
    grace = _Grace(bytes=_UNTOLD, inodes=_UNTOLD)
    if limits.bytes_soft or limits.inodes_soft:
        _answered(fd, _Q_GETINFO, whose, 0, grace)
    now = time.time()  # the kernel goes by this clock, too
    return (
        limits.bytes_end - now if limits.bytes_end else grace.bytes,
        limits.inodes_end - now if limits.inodes_end else grace.inodes,
    )


def _answered(fd: int, command: int, whose: Whose, number: int, answer: ctypes.Structure) -> bool:
    """Whether the kernel filled in *answer* about the filesystem that *fd* lies on."""
    code, to = ctypes.c_uint32(command << 8 | _KINDS[whose]), ctypes.byref(answer)
    if _by_descriptor():
        call = ctypes.c_long(_QUOTACTL_FD)
        return bool(libc.syscall(call, ctypes.c_int(fd), code, ctypes.c_uint32(number), to) == 0)
    device = os.fstat(fd).st_dev
    block = f"/dev/block/{os.major(device)}:{os.minor(device)}".encode()
    return bool(libc.quotactl(code, block, ctypes.c_uint32(number), to) == 0)


@cache
def _by_descriptor() -> bool:
    """Whether there is quotactl_fd (Linux 5.14).

    ENOSYS is also what a filesystem without quotas says, so it is asked about none.
    """
    libc.syscall(ctypes.c_long(_QUOTACTL_FD), ctypes.c_int(-1), ctypes.c_uint32(0), 0, None)
    return ctypes.get_errno() != errno.ENOSYS
