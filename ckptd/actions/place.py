"""Where a run's trash is, and making it ready: `.ckptd-trash/<uid>/`, its owner's alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from ckptd import beneath
from ckptd.errors import RefusedError
from ckptd.model import TRASH
from ckptd.trash import Shelf, opened, sound
from ckptd.units import show_text

_DIRECT = "--trash-for 0s unlinks directly"


def find_place(run: str, watch: str, is_run: Callable[[str], bool]) -> str:
    """The directory whose trash takes what *run* lets go; both paths absolute, without a link.

    That is the top of the watch, else the nearest directory above the run, where it is on the
    run's filesystem, no run itself (`is_run` of its path) and writable. RefusedError for none.
    """
    with _refusing(run), opened(beneath.open_directory(run)) as fd:
        seen = os.fstat(fd)
    for place in _above(run, watch):
        if _fits(place, seen) and not is_run(place):
            return place
    raise RefusedError(
        f"no directory above {show_text(run)} on its filesystem can hold its trash", hint=_DIRECT
    )


def _above(run: str, watch: str) -> Iterator[str]:
    if run.startswith(watch.rstrip("/") + "/"):
        yield watch
    while run != "/":
        run = os.path.dirname(run)
        yield run


def _fits(place: str, run: os.stat_result) -> bool:
    # Accelerate lists the directory `checkpoints` and dies of any name it does not know.
    if os.path.basename(place) == "checkpoints":
        return False
    try:
        with opened(beneath.open_directory(place)) as fd:
            if os.fstat(fd).st_dev != run.st_dev:
                return False
            if _may_write(fd, os.geteuid()):
                return True
            with beneath.as_owner(run.st_uid, run.st_gid):
                return _may_write(fd, run.st_uid)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            return False
        raise


def _may_write(place_fd: int, uid: int) -> bool:
    """Whether a shelf can be made in the place: what exists of it decides."""
    for level in (f"{TRASH}/{uid}", TRASH, "."):
        try:
            fd = beneath.open_beneath(place_fd, level)
        except FileNotFoundError:
            continue
        with opened(fd):
            return os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True)
    return False


# --- the shelf ---------------------------------------------------------------------------


@contextmanager
def shelf(place: str, uid: int, gid: int) -> Iterator[Shelf]:
    """The open shelf of *uid* in *place*, made where it is missing.

    RefusedError where something lies there that is not that owner's alone; OSError.
    """
    with ExitStack() as open_ones:
        place_fd = open_ones.enter_context(opened(beneath.open_directory(place)))
        trash_fd = open_ones.enter_context(opened(open_trash(place_fd, uid, gid)))
        fd = open_ones.enter_context(opened(_own(trash_fd, uid, gid)))
        if not sound(fd, uid):
            path = show_text(f"{place}/{TRASH}/{uid}")
            raise RefusedError(f"{path} is not its owner's alone, so nothing is moved into it")
        yield Shelf(place, uid, gid, fd)


def open_trash(place_fd: int, uid: int, gid: int) -> int:
    """A descriptor of `.ckptd-trash` in the open place, made where it is missing. OSError."""
    with suppress(FileNotFoundError):
        return beneath.open_beneath(place_fd, TRASH)
    # Whoever may make a directory in the place may make a shelf; the sticky bit keeps others' safe.
    mode = 0o1755 | (os.fstat(place_fd).st_mode & 0o022)
    _make(TRASH, place_fd, uid, gid)
    fd = beneath.open_beneath(place_fd, TRASH)
    if os.fstat(fd).st_uid in {os.geteuid(), uid}:
        with beneath.as_owner(os.fstat(fd).st_uid, gid):
            os.fchmod(fd, mode)
    return fd


def _make(name: str, dir_fd: int, uid: int, gid: int) -> None:
    with suppress(FileExistsError):
        try:
            os.mkdir(name, 0o755, dir_fd=dir_fd)
        except PermissionError:
            # An NFS server gives root nothing; the owner may still be allowed.
            with beneath.as_owner(uid, gid):
                os.mkdir(name, 0o755, dir_fd=dir_fd)


def _own(trash_fd: int, uid: int, gid: int) -> int:
    name = str(uid)
    with suppress(FileNotFoundError):
        return beneath.open_beneath(trash_fd, name)
    try:
        with beneath.as_owner(uid, gid), suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=trash_fd)
    except PermissionError:
        if os.geteuid() != 0 or os.fstat(trash_fd).st_uid != 0:
            raise
        _give(trash_fd, name, uid, gid)
    return beneath.open_beneath(trash_fd, name)


def _give(trash_fd: int, name: str, uid: int, gid: int) -> None:
    """Make the shelf as root and hand it over: only root can write to this trash directory."""
    os.mkdir(name, 0o700, dir_fd=trash_fd)
    try:
        os.chown(name, uid, gid, dir_fd=trash_fd, follow_symlinks=False)
    except PermissionError:
        os.rmdir(name, dir_fd=trash_fd)
        raise


@contextmanager
def _refusing(run: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RefusedError(f"{show_text(run)} cannot be opened: {error.strerror}") from error
