"""One directory or checkpoint: what lies in it, as lstat says it, and its bytes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from typing import Final

from ckptd import beneath
from ckptd.errors import UnreadableError
from ckptd.formats.base import Peek
from ckptd.model import Entry, Identity, Kind, Tree
from ckptd.mounts import now, step
from ckptd.units import show_text

MOST_ENTRIES: Final = 200_000
DEEPEST: Final = 64
MOST_PEEKED: Final = 64 * 2**20
_A_PIECE: Final = 2**20
_MOUNT: Final = "another filesystem is mounted here; name it as a watch of its own"


def children(dir_fd: int) -> tuple[Entry, ...]:
    """The directory's own children in name order. Raises UnreadableError."""
    with explained(_path_of(dir_fd)):
        return _list(dir_fd, "")


def tree(dir_fd: int, name: str, *, limit: int = MOST_ENTRIES) -> Tree:
    """Everything below the directory *name* in *dir_fd*, in path order.

    What is mounted inside is listed as Kind.OTHER and not entered. Raises UnreadableError, also
    for more than *limit* entries or more than 64 levels.
    """
    with explained(f"{_path_of(dir_fd)}/{name}"):
        fd = beneath.open_beneath(dir_fd, name)
        try:
            root = entry_of(name, os.fstat(fd), None)
            return Tree(root, tuple(sorted(_below(fd, limit), key=_by_path)))
        finally:
            os.close(fd)


def identity(tree: Tree) -> Identity:
    """Which bytes *tree* is made of; see `model.Identity`."""
    digest, touched = blake2b(digest_size=32), blake2b(digest_size=16)
    for e in sorted(tree.entries, key=_by_path):
        touched.update(b"%d\0" % e.ctime_ns if e.kind is Kind.FILE else b"")
        # A path holds no NUL, so no two listings give the same text.
        text = f"{e.path}\0{e.kind}\0{e.inode}\0{e.size}\0{e.mtime_ns}\0"
        digest.update(os.fsencode(text))
    root = tree.root
    return Identity(root.device, root.inode, digest.hexdigest(), touched.hexdigest())


def peek(dir_fd: int) -> Peek:
    """Reads bytes of regular files below *dir_fd*, at most 64 MiB a call (`formats.base.Peek`)."""

    def read(path: str, offset: int, length: int) -> bytes:
        fd = beneath.open_file(dir_fd, path)
        try:
            return _read(fd, offset, min(length, MOST_PEEKED))
        finally:
            os.close(fd)

    return read


def _read(fd: int, offset: int, length: int) -> bytes:
    """In pieces: a server may take its time for all of it."""
    read = bytearray()
    while piece := os.pread(fd, min(length - len(read), _A_PIECE), offset + len(read)):
        read += piece
        step()
    return bytes(read)


def _below(fd: int, limit: int) -> Iterator[Entry]:
    waiting: list[Entry | None] = [None]
    count = 0
    while waiting:
        directory = waiting.pop()
        path = directory.path if directory else ""
        if path.count("/") >= DEEPEST:
            raise UnreadableError(f"{show_text(path)} lies deeper than {DEEPEST} levels")
        try:
            entries = _list_at(fd, path)
        except FileNotFoundError:
            continue
        except OSError as error:
            if directory is None or error.errno != errno.EXDEV:
                raise
            yield replace(directory, kind=Kind.OTHER)
            continue
        count += len(entries)
        if count > limit:
            raise UnreadableError(f"more than {limit} entries lie in one checkpoint")
        if directory:
            yield directory
        waiting.extend(e for e in entries if e.kind is Kind.DIRECTORY)
        yield from (e for e in entries if e.kind is not Kind.DIRECTORY)


def _list_at(fd: int, path: str) -> tuple[Entry, ...]:
    here = beneath.open_beneath(fd, path)
    try:
        return _list(here, f"{path}/" if path else "")
    finally:
        os.close(here)


def listed(fd: int, below: str, most: int) -> tuple[os.stat_result, tuple[Entry, ...]]:
    """The directory *below* the open one, and its own children; by its owner if not by root."""
    try:
        return _listed_by_us(fd, below, most)
    except PermissionError:
        with beneath.as_owner_of(fd, below):
            return _listed_by_us(fd, below, most)


def _listed_by_us(fd: int, below: str, most: int) -> tuple[os.stat_result, tuple[Entry, ...]]:
    here = beneath.open_beneath(fd, below)
    try:
        return os.fstat(here), _list(here, "", most)
    finally:
        os.close(here)


def _list(fd: int, prefix: str, most: int = MOST_ENTRIES) -> tuple[Entry, ...]:
    with os.scandir(fd) as names:
        bounded = [name.name for name in islice(names, most + 1)]
    if len(bounded) > most:
        raise OSError(errno.E2BIG, f"more than {most} entries in one directory")
    mounted = may_hang_in(fd)
    found = (
        _mounted(prefix + name) if name in mounted else _look(fd, name, prefix)
        for name in sorted(bounded)
    )
    return tuple(entry for entry in found if entry)


def may_hang_in(fd: int) -> frozenset[str]:
    """Names in the open directory of which another filesystem would tell, or never return."""
    mounts = now()
    return mounts.points_in(_path_of(fd)) if mounts.points else frozenset()


def _mounted(path: str) -> Entry:
    """A directory that another filesystem is mounted on, as far as that is known without it."""
    return Entry(
        path=path,
        kind=Kind.DIRECTORY,
        device=0,
        inode=0,
        size=0,
        allocated=0,
        links=1,
        uid=0,
        mode=stat.S_IFDIR,
        mtime_ns=0,
    )


def _look(fd: int, name: str, prefix: str) -> Entry | None:
    step()
    try:
        seen = os.lstat(name, dir_fd=fd)
        target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(seen.st_mode) else None
    except FileNotFoundError:
        return None
    return entry_of(prefix + name, seen, target)


def entry_of(path: str, seen: os.stat_result, target: str | None) -> Entry:
    """What lstat said of *path*; *target* is where it leads if it is a link."""
    return Entry(
        path=path,
        kind=_kind(seen.st_mode),
        device=seen.st_dev,
        inode=seen.st_ino,
        size=seen.st_size,
        allocated=seen.st_blocks * 512,
        links=seen.st_nlink,
        uid=seen.st_uid,
        mode=seen.st_mode,
        mtime_ns=seen.st_mtime_ns,
        target=target,
        ctime_ns=seen.st_ctime_ns,
    )


def _kind(mode: int) -> Kind:
    kinds = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK}
    return kinds.get(stat.S_IFMT(mode), Kind.OTHER)


def _by_path(entry: Entry) -> str:
    return entry.path


# --- words -------------------------------------------------------------------------------


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns an OSError into an UnreadableError about *path*."""
    try:
        yield
    except OSError as error:
        raise UnreadableError(f"{show_text(path)} cannot be read: {words(error)}") from error


def words(error: OSError) -> str:
    """An error for people, without the path."""
    if error.errno == errno.EXDEV:
        return _MOUNT
    return (error.strerror or str(error)).lower()


def _path_of(fd: int) -> str:
    """Where the descriptor leads, for a sentence only."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "a directory"
