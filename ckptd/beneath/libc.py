"""The system calls that Python has no function for go through here."""

from __future__ import annotations

import ctypes
import os
from typing import Final

libc: Final = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def failure(path: str) -> OSError:
    """The error that the last call left, about *path*."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)
