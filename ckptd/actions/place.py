"""Where a run's trash is, and making it ready: `.ckptd-trash/<uid>/`, its owner's alone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from ckptd import beneath, formats
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


def can_hold(place: str) -> bool:
    """Whether the absolute *place* can hold the trash of its owner's runs below it. OSError."""
    return _fits(place, os.stat(place))


def _above(run: str, watch: str) -> Iterator[str]:
    if run.startswith(watch.rstrip("/") + "/"):
        yield watch
    while run != "/":
        run = os.path.dirname(run)
        yield run


def _fits(place: str, run: os.stat_result) -> bool:
    # Accelerate lists the directory `checkpoints` and dies of any name it does not know.
    if os.path.basename(place) == formats.STRICT:
        return False
    try:
        with opened(beneath.open_directory(place)) as fd:
            if os.fstat(fd).st_dev != run.st_dev or _is_taken(fd, run.st_uid):
                return False
            if _may_write(fd, os.geteuid()):
                return True
            with beneath.as_owner(run.st_uid, run.st_gid):
                return _may_write(fd, run.st_uid)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            return False
        raise


def _is_taken(place_fd: int, uid: int) -> bool:
    """Whether somebody else has the trash of the place, or the shelf of *uid* in it, in hand.

    Where many may write, whoever comes first may make them: what was moved in there would lie in
    that one's power, who could not have touched it where it lay.
    """
    with suppress(FileNotFoundError), opened(beneath.open_beneath(place_fd, TRASH)) as trash_fd:
        if not _may_hold(trash_fd, {0, uid, os.geteuid(), os.fstat(place_fd).st_uid}):
            return True
        with opened(beneath.open_beneath(trash_fd, str(uid))) as fd:
            return not sound(fd, uid) and not _awaits(trash_fd, fd, uid)
    return False


def _may_hold(trash_fd: int, owners: set[int]) -> bool:
    """Whether a trash is one of *owners*' and nobody can move another's shelf in it."""
    seen = os.fstat(trash_fd)
    open_to_all = seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return seen.st_uid in owners and bool(seen.st_mode & stat.S_ISVTX or not open_to_all)


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
        owners = {0, uid, os.geteuid(), os.fstat(place_fd).st_uid}
        if not _may_hold(trash_fd, owners) or not sound(fd, uid):
            path = show_text(f"{place}/{TRASH}/{uid}")
            raise RefusedError(f"{path} is not its owner's alone, so nothing is moved into it")
        yield Shelf(place, uid, gid, fd)


def open_trash(place_fd: int, uid: int, gid: int) -> int:
    """A descriptor of `.ckptd-trash` in the open place, made where it is missing. OSError."""
    try:
        fd = beneath.open_beneath(place_fd, TRASH)
    except FileNotFoundError:
        _make(TRASH, place_fd, uid, gid)
        fd = beneath.open_beneath(place_fd, TRASH)
    seen = os.fstat(fd)
    # Without the bit it was made a moment ago, or by a ckptd that was killed at it.
    if not seen.st_mode & stat.S_ISVTX and seen.st_uid in {os.geteuid(), uid}:
        # Whoever may make a directory in the place may make a shelf; the bit keeps others' safe.
        with beneath.as_owner(seen.st_uid, gid):
            os.fchmod(fd, 0o1755 | (os.fstat(place_fd).st_mode & 0o022))
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
        return _given(trash_fd, beneath.open_beneath(trash_fd, name), uid, gid)
    try:
        with beneath.as_owner(uid, gid), suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=trash_fd)
    except PermissionError:
        if os.geteuid() != 0 or os.fstat(trash_fd).st_uid != 0:
            raise
        os.mkdir(name, 0o700, dir_fd=trash_fd)
    try:
        return _given(trash_fd, beneath.open_beneath(trash_fd, name), uid, gid)
    except PermissionError:
        os.rmdir(name, dir_fd=trash_fd)
        raise


def _given(trash_fd: int, fd: int, uid: int, gid: int) -> int:
    """The shelf *fd*, handed over to its owner where root had to make it."""
    if _awaits(trash_fd, fd, uid):
        try:
            os.fchown(fd, uid, gid)
        except PermissionError:
            os.close(fd)
            raise
    return fd


def _awaits(trash_fd: int, fd: int, uid: int) -> bool:
    """Whether root has made the shelf *fd* and not handed it over: a ckptd may be killed at it.

    Only root can write to that trash directory, so nobody else has put it there.
    """
    above, here = os.fstat(trash_fd), os.fstat(fd)
    by_root = above.st_uid == here.st_uid == os.geteuid() == 0 != uid
    return by_root and not above.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextmanager
def _refusing(run: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise RefusedError(
            f"{show_text(run)} cannot be opened ({words}), so nothing in it is touched"
        ) from error
