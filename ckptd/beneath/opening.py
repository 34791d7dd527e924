"""Opening what lies below a directory, and nothing else."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ckptd.beneath.libc import failure, libc
from ckptd.beneath.mounts import mount
from ckptd.beneath.owner import as_owner_of

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
ALWAYS: Final = os.O_CLOEXEC | os.O_NOFOLLOW

_REGULAR: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_ATTEMPTS: Final = 8

# linux/openat2.h; the number is the same on x86, arm, riscv, ppc and s390.
_OPENAT2: Final = 437
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_directory(path: str) -> int:
    """A descriptor of the directory at the absolute *path*; no component may be a link.

    Resolve what a person typed with `os.path.realpath` beforehand. Raises OSError.
    """
    if not os.path.isabs(path):
        raise OSError(errno.EINVAL, "not an absolute path", path)
    root, below = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), path.lstrip("/")
    try:
        return _open(root, below, DIRECTORY, same_device=False)
    finally:
        os.close(root)


@contextmanager
def open_nearest(path: str) -> Iterator[int]:
    """A descriptor that only names *path*, or its nearest ancestor that exists.

    Links are followed, and nothing can be read or written by it: it is for asking what filesystem
    that is. Raises OSError.
    """
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


def open_beneath(dir_fd: int, path: str, flags: int = DIRECTORY) -> int:
    """A descriptor of *path* below *dir_fd*: no link followed, no filesystem left.

    Raises OSError: ELOOP or ENOTDIR for a link, EXDEV for `..`, an absolute path or a mount point.
    """
    return _open(dir_fd, path, flags, same_device=True)


def open_file(dir_fd: int, path: str) -> int:
    """A read-only descriptor of the regular file *path* below *dir_fd*.

    Never blocks, whatever lies there. Raises OSError (EINVAL where it is no regular file).
    """
    return _regular(open_beneath(dir_fd, path, _REGULAR), path)


def open_regular(path: str) -> int:
    """A read-only descriptor of the regular file at the absolute *path*, which leads over no link.

    Directories above it need not be readable. Never blocks. Raises OSError (EINVAL where it is no
    regular file).
    """
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _regular(_open(root, path.lstrip("/"), _REGULAR, same_device=False), path)
    finally:
        os.close(root)


def _regular(fd: int, path: str) -> int:
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "not a regular file", path)


def _open(dir_fd: int, path: str, flags: int, *, same_device: bool) -> int:
    """What is closed even to root (a server takes root for nobody) opens in its owner's rights."""
    try:
        return _open_as_we_are(dir_fd, path, flags, same_device=same_device)
    except PermissionError:
        if os.geteuid() != 0:
            raise
        with as_owner_of(dir_fd, path):
            return _open_as_we_are(dir_fd, path, flags, same_device=same_device)


def _open_as_we_are(dir_fd: int, path: str, flags: int, *, same_device: bool) -> int:
    for opener in tuple(_OPENERS):
        try:
            return opener(dir_fd, path, flags, same_device=same_device)
        except OSError as error:
            # An old kernel, or a seccomp filter: systemd's RestrictSUIDSGID= answers ENOSYS,
            # SystemCallErrorNumber= and old containers EPERM. It will not change while we run.
            if opener is open_by_walk or error.errno not in {errno.ENOSYS, errno.EPERM}:
                raise
            with suppress(ValueError):
                _OPENERS.remove(opener)
    raise AssertionError("the walk returns or raises")  # pragma: no cover


def open_by_kernel(
    dir_fd: int, path: str, flags: int = DIRECTORY, *, same_device: bool = True
) -> int:
    """`open_beneath` by the kernel itself (openat2). OSError ENOSYS or EPERM where it may not."""
    names = _components(path)
    how = _OpenHow(flags | ALWAYS, 0, _NO_SYMLINKS | _NO_MAGICLINKS)
    if same_device:
        how.resolve |= _BENEATH | _NO_XDEV
    raw = os.fsencode("/".join(names) or ".")
    size = ctypes.c_size_t(ctypes.sizeof(how))
    fd = -1
    for _ in range(_ATTEMPTS):
        fd = libc.syscall(
            ctypes.c_long(_OPENAT2), ctypes.c_int(dir_fd), raw, ctypes.byref(how), size
        )
        # EAGAIN: something was renamed while the kernel looked.
        if fd >= 0 or ctypes.get_errno() != errno.EAGAIN:
            break
    if fd < 0:
        raise failure(path)
    return fd


def open_by_walk(
    dir_fd: int, path: str, flags: int = DIRECTORY, *, same_device: bool = True
) -> int:
    """`open_beneath` without openat2: one component after the other, the mount checked at each."""
    *above, last = _components(path) or ["."]
    there = mount(dir_fd)
    here = os.dup(dir_fd)
    try:
        for name in above:
            # O_PATH asks for no permission to read, as a path lookup would not.
            here = _step(here, name, os.O_PATH | os.O_DIRECTORY)
            _same_mount(here, there, path, wanted=same_device)
        here = _step(here, last, flags)
        _same_mount(here, there, path, wanted=same_device)
    except OSError:
        os.close(here)
        raise
    return here


_OPENERS: Final[list[Callable[..., int]]] = [open_by_kernel, open_by_walk]


def _components(path: str) -> list[str]:
    names = [name for name in path.split("/") if name not in {"", "."}]
    if path.startswith("/") or ".." in names:
        raise OSError(errno.EXDEV, "leads out of the directory", path)
    return names


def _step(here: int, name: str, flags: int) -> int:
    down = os.open(name, flags | ALWAYS, dir_fd=here)
    os.close(here)
    return down


def _same_mount(fd: int, there: tuple[int, int], path: str, *, wanted: bool) -> None:
    if wanted and mount(fd) != there:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
