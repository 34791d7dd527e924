"""Into the trash, out of it, and its end. By descriptor, in the rights of the owner.

A sidecar is durable before its item moves, and an item is claimed by a rename before anything of
it is unlinked: whatever stops us in between, the item lies whole in one place or is gone for good.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import Final

from ckptd import beneath
from ckptd.actions.place import find_place, shelf
from ckptd.actions.planned import Planned, look_once_more, planned
from ckptd.errors import ActionError, CrossingError, NoRoomError, OvertakenError, RefusedError
from ckptd.model import TRASH, ActionKind, Checkpoint, Run, TrashItem
from ckptd.mounts import step
from ckptd.trash import ID, PURGING, Shelf, find, items, listed, opened, shelf_of, shelves, sidecar
from ckptd.units import show_text

__all__ = [
    "explained",
    "find",
    "find_place",
    "finish_purges",
    "forget",
    "items",
    "move_in",
    "purge",
    "restore",
    "sync_after",
]

# A sidecar without its item: an act that never moved anything. Younger ones may be under way.
_ABANDONED: Final = 3600.0
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
_SWAPPED: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def move_in(  # noqa: PLR0913 - one act, told whole
    run: Run,
    checkpoint: Checkpoint,
    action: ActionKind,
    *,
    id: str,  # noqa: A002 - the word of DESIGN section 4
    place: str,
    reason: str,
    now: datetime,
    trash_for: float = 0.0,
    passing: bool = False,
) -> TrashItem:
    """Move *checkpoint* of *run* into the trash of *place* under *id* (16 lower-case letters).

    *passing*: it is purged right after, so its sidecar need not outlast a power failure. The
    ledger knows the item too, and each wait for the disk makes a trainer's own wait longer.
    RefusedError when it is no longer what was planned, not its run's owner's, or when the trash
    is on another filesystem; ActionError when the system says no. Then it lies where it lay.
    """
    if not ID.fullmatch(id):
        raise ActionError(f"{id!r} is no id of the trash")
    moved = explained(checkpoint.path, "moved into the trash", gone=OvertakenError)
    with moved, planned(run, checkpoint) as found:
        item = TrashItem(
            id=id,
            place=place,
            uid=found.uid,
            run=run.path,
            name=checkpoint.name,
            step=checkpoint.step,
            bytes=checkpoint.bytes,
            saved_at=checkpoint.saved_at,
            trashed_at=now,
            action=action,
            weights_whole=checkpoint.weights_whole,
            filesystem=run.filesystem,
            reason=reason,
            trash_for=trash_for,
            inodes=checkpoint.inodes,
        )
        with shelf(place, found.uid, found.gid) as here, found.as_owner():
            _into(here, item, found, run, checkpoint, durable=not passing)
    return item


def purge(item: TrashItem, beat: Callable[[], None] = lambda: None) -> int:
    """Unlink *item* for good; the bytes that freed. *beat* is called after each file.

    It is claimed by a rename first, so that a `restore` at the same moment gets all of it or
    nothing. RefusedError when it is no longer there, ActionError when the system says no.
    """
    with (
        explained(item.path, "purged"),
        shelf_of(item) as here,
        beneath.as_owner(here.uid, here.gid),
    ):
        step()
        try:
            beneath.rename_noreplace(here.fd, item.id, here.fd, item.id + PURGING)
        except FileNotFoundError:
            if not _lies_on(here, item.id + PURGING):
                raise
        return _finish(here, item.id, beat)


def forget(place: str, id: str) -> None:  # noqa: A002 - as above
    """Unlink the sidecar of *id* in *place* where no item lies beside it: its act is over.

    Raises ActionError when the system says no.
    """
    with explained(f"{place}/{TRASH}", "cleared"):
        for here in shelves(place):
            with beneath.as_owner(here.uid, here.gid):
                if ID.fullmatch(id) and not {id, id + PURGING} & set(os.listdir(here.fd)):
                    _unlink_sidecar(here, id)


def finish_purges(place: str) -> int:
    """Finish the purges in *place* that were begun, and clear sidecars without item; bytes freed.

    Raises ActionError when the system says no.
    """
    freed = 0
    with explained(f"{place}/{TRASH}", "purged"):
        for here in shelves(place):
            with beneath.as_owner(here.uid, here.gid):
                names = set(listed(here.fd))
                for id_ in {n.removesuffix(PURGING) for n in names if n.endswith(PURGING)}:
                    freed += _finish(here, id_) if ID.fullmatch(id_) else 0
                for id_ in {n.removesuffix(".json") for n in names if n.endswith(".json")} - names:
                    _clear(here, id_)
    return freed


def restore(item: TrashItem, *, to: str | None = None) -> str:
    """Move *item* back to where it lay, or into the directory *to*; the path it then has.

    Exactly as it was, modes and times too, and pinned (where extended attributes are possible).
    RefusedError when the name is taken, its run's directory is gone or the item is; ActionError.
    """
    if to is None and not item.known:
        raise RefusedError(
            f"no record tells where {item.id} in {show_text(item.place)}/{TRASH} came from",
            hint="restore it with --to DIR",
        )
    home = item.run if to is None else os.path.realpath(to)
    target = os.path.join(home, item.name)
    with explained(item.path, "restored"), ExitStack() as open_ones:
        here = open_ones.enter_context(shelf_of(item))
        # The way to the run as well: a sidecar may name a place that its writer cannot reach.
        open_ones.enter_context(beneath.as_owner(here.uid, here.gid))
        home_fd = open_ones.enter_context(opened(_open_home(home)))
        fd = open_ones.enter_context(opened(beneath.open_beneath(here.fd, item.id)))
        _pin_and_move(fd, (here.fd, item.id), (home_fd, item.name), target)
        with suppress(OSError):  # it is back; without an item its sidecar is cleared later
            _unlink_sidecar(here, item.id)
        sync_after(home_fd, here.fd)
    return target


# --- moving ------------------------------------------------------------------------------


def _into(
    here: Shelf, item: TrashItem, found: Planned, run: Run, checkpoint: Checkpoint, *, durable: bool
) -> None:
    _write_sidecar(here, item, durable=durable)
    try:
        look_once_more(found, run, checkpoint)
        step()
        _move(found.fd, (found.run_fd, checkpoint.name), (here.fd, item.id))
        _confirm(found, here, checkpoint, item.id)
    except BaseException:
        if not _lies_on(here, item.id):
            _unlink_sidecar(here, item.id)
        raise
    sync_after(here.fd, found.run_fd)


def _move(fd: int, source: tuple[int, str], target: tuple[int, str]) -> None:
    """Rename the directory *fd* from one (descriptor, name) to another; its times stay."""
    before = os.fstat(fd)
    with beneath.writable(fd):
        beneath.rename_noreplace(*source, *target)
    # Its `..` was rewritten, which some filesystems count as a change of the directory itself.
    if os.fstat(fd).st_mtime_ns != before.st_mtime_ns:
        with suppress(OSError):  # it has moved, whatever becomes of its times
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))


def _confirm(found: Planned, here: Shelf, checkpoint: Checkpoint, id_: str) -> None:
    """Whether the name that moved was the directory that was looked at; else put it back."""
    moved = os.lstat(id_, dir_fd=here.fd)
    if (moved.st_dev, moved.st_ino) == (checkpoint.identity.device, checkpoint.identity.inode):
        return
    beneath.rename_noreplace(here.fd, id_, found.run_fd, checkpoint.name)
    raise OvertakenError(f"{show_text(checkpoint.path)} was replaced while it was moved; put back")


def _open_home(home: str) -> int:
    try:
        return beneath.open_directory(home)
    except OSError as error:
        if error.errno not in _SWAPPED:
            raise
        raise RefusedError(
            f"{show_text(home)} is gone, so nothing can be put back into it",
            hint="restore it elsewhere with --to DIR",
        ) from error


def _pin_and_move(fd: int, source: tuple[int, str], target: tuple[int, str], path: str) -> None:
    """Pinned before it is back: at no moment may the next plan find it there without a pin."""
    was_pinned = beneath.pinned(fd)
    try:
        beneath.pin(fd)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, *_NO_ROOM}:
            raise
    try:
        _move(fd, source, target)
    except OSError as error:
        if not was_pinned:
            beneath.unpin(fd)
        if error.errno != errno.EEXIST:
            raise
        raise RefusedError(
            f"{show_text(path)} exists already", hint="restore it elsewhere with --to DIR"
        ) from error


# --- a shelf's own files -----------------------------------------------------------------


def _write_sidecar(here: Shelf, item: TrashItem, *, durable: bool) -> None:
    """On a full disk it is left out: the ledger knows the item too."""
    name = f"{item.id}.json"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with opened(os.open(name, flags, 0o600, dir_fd=here.fd)) as fd:
            _write_whole(fd, sidecar(item))
            if durable:
                os.fsync(fd)
                _sync(here.fd)
    except FileExistsError:
        raise  # another item's
    except OSError as error:
        with suppress(OSError):  # what does not even let it be unlinked is told by the first error
            _unlink_sidecar(here, item.id)
        if error.errno not in _NO_ROOM:
            raise


def _write_whole(fd: int, text: bytes) -> None:
    if os.write(fd, text) != len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lies_on(here: Shelf, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=here.fd)
    except FileNotFoundError:
        return False
    return True


def _unlink_sidecar(here: Shelf, id_: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(f"{id_}.json", dir_fd=here.fd)


def _finish(here: Shelf, id_: str, beat: Callable[[], None] = lambda: None) -> int:
    """Unlink what was claimed for purging, then its sidecar."""
    freed = 0
    with suppress(FileNotFoundError):
        seen = os.lstat(id_ + PURGING, dir_fd=here.fd)
        device, inode = seen.st_dev, seen.st_ino
        freed = beneath.unlink_tree(here.fd, id_ + PURGING, device=device, inode=inode, beat=beat)
    with suppress(OSError):  # it is gone; without an item its sidecar is cleared later
        _unlink_sidecar(here, id_)
    sync_after(here.fd)
    return freed


def _clear(here: Shelf, id_: str) -> None:
    with suppress(FileNotFoundError):
        seen = os.lstat(f"{id_}.json", dir_fd=here.fd)
        old = time.time() - seen.st_mtime > _ABANDONED
        if old and ID.fullmatch(id_) and stat.S_ISREG(seen.st_mode):
            _unlink_sidecar(here, id_)


def sync_after(*directories: int) -> None:
    """Makes an act durable that is done: where the disk refuses that, it is done all the same.

    What a power failure undoes of it then is whole where it lay, and judged anew.
    """
    for dir_fd in directories:
        with suppress(OSError):
            os.fsync(dir_fd)


def _sync(dir_fd: int) -> None:
    try:
        os.fsync(dir_fd)
    except OSError as error:
        # Some network filesystems cannot sync a directory; their server does it by itself.
        if error.errno != errno.EINVAL:
            raise


# --- words -------------------------------------------------------------------------------


@contextmanager
def explained(path: str, done: str, *, gone: type[RefusedError] = RefusedError) -> Iterator[None]:
    """Turns an OSError into a sentence: *path* was not, or could not be, *done*.

    *gone* is raised where it is gone or replaced.
    """
    try:
        yield
    except OSError as error:
        shown = show_text(path)
        if error.errno == errno.EXDEV:
            raise CrossingError(
                f"{shown} was not {done}: that would cross into another filesystem, so it stays",
                hint=None
                if done in {"unlinked", "restored"}
                else "--trash-for 0s unlinks directly",
            ) from error
        if error.errno == errno.EROFS:
            raise RefusedError(
                f"{shown} was not {done}: its filesystem is mounted read-only, so it stays"
            ) from error
        if error.errno in _SWAPPED:
            raise gone(
                f"{shown} was not {done}: it is gone or replaced, so what is there stays"
            ) from error
        words = (error.strerror or str(error)).lower()
        kind = NoRoomError if error.errno in _NO_ROOM else ActionError
        raise kind(f"{shown} could not be {done}: {words}") from error
