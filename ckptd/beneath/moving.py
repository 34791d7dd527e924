"""Renaming: what is moved never replaces anything."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ckptd.beneath.libc import failure, libc

_RENAME_NOREPLACE: Final = 1  # linux/fs.h


def rename_noreplace(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    """Rename *src* in *src_fd* to *dst* in *dst_fd*; OSError EEXIST where the name is taken.

    Some network filesystems have no such rename (EINVAL). There a directory is renamed plainly
    onto a name just seen to be absent: what could slip in between and be replaced is an empty
    directory, for rename(2) replaces nothing else by a directory.
    """
    done = libc.renameat2(src_fd, os.fsencode(src), dst_fd, os.fsencode(dst), _RENAME_NOREPLACE)
    if done == 0:
        return
    said = failure(src)
    is_directory = stat.S_ISDIR(os.lstat(src, dir_fd=src_fd).st_mode)
    if said.errno != errno.EINVAL or not is_directory:
        raise said
    rename_onto_absent(src_fd, src, dst_fd, dst)


def rename_onto_absent(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    """The plain rename of a directory that `rename_noreplace` falls back to."""
    with suppress(FileNotFoundError):
        os.lstat(dst, dir_fd=dst_fd)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), dst)
    os.rename(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)


@contextmanager
def writable(fd: int) -> Iterator[None]:
    """Let the owner write in the directory *fd* meanwhile; its mode is as before afterwards.

    A directory saved as 0555 cannot be moved to another parent nor marked, not even by its owner.
    """
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & stat.S_IWUSR:
        yield
        return
    os.fchmod(fd, mode | stat.S_IWUSR)
    try:
        yield
    finally:
        os.fchmod(fd, mode)
