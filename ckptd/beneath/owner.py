"""Acting in the rights of the files' owner."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ckptd.beneath.libc import libc


@contextmanager
def as_owner(uid: int, gid: int) -> Iterator[None]:
    """Reach files in the rights of *uid* and *gid* meanwhile, where we are root.

    Only this thread changes (setfsuid), so a race that somebody wins against us does no more than
    they could have done themselves. Without effect for others than root, and for uid 0.
    """
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    try:
        _set_fs(libc.setfsgid, gid)
        _set_fs(libc.setfsuid, uid)
        yield
    finally:
        _set_fs(libc.setfsuid, os.geteuid())
        _set_fs(libc.setfsgid, os.getegid())


def _set_fs(call: Callable[[ctypes.c_uint32], int], wanted: int) -> None:
    call(ctypes.c_uint32(wanted))
    # It reports no error: only the next call, which changes nothing, tells what holds now.
    if call(ctypes.c_uint32(0xFFFFFFFF)) != wanted:
        raise PermissionError(errno.EPERM, f"may not act in the rights of {wanted}")
