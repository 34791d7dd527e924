"""Listings: what lies where, as lstat says it. Nothing is opened but directories and peeked files.

What cannot be seen is an UnreadableError or an Unreadable, never an empty listing. Whatever
disappears while we look is left out: a trainer may rotate at any time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import Final

from ckptd import beneath, formats
from ckptd.errors import UnreadableError
from ckptd.formats.base import Claim, Format, Peek
from ckptd.model import TRASH, Entry, Identity, Kind, Tree, Unreadable
from ckptd.units import show_text

MOST_ENTRIES: Final = 200_000
MOST_DIRECTORIES: Final = 100_000
DEEPEST: Final = 64
MOST_PEEKED: Final = 64 * 2**20

Recognise = Callable[[Sequence[Entry]], Sequence[tuple[Format, Claim]]]

_MOUNT: Final = "another filesystem is mounted here; name it as a watch of its own"
_TOO_MANY: Final = f"more than {MOST_DIRECTORIES} directories; name narrower watches"
_LOOK_ALIKE: Final = {
    Kind.SYMLINK: "a symbolic link named like a checkpoint; a link is never followed or moved",
    Kind.FILE: "a file named like a checkpoint directory, so it is left alone",
    Kind.OTHER: "neither file nor directory though named like a checkpoint, so it is left alone",
}


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A directory with at least one claim, and its own children."""

    path: str
    device: int
    inode: int
    uid: int
    children: tuple[Entry, ...]
    claims: tuple[tuple[Format, Claim], ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies below a watch: runs, every directory looked into, and what could not be seen.

    `places` are those of the directories that hold a `.ckptd-trash`.
    """

    runs: tuple[FoundRun, ...] = ()
    directories: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    places: tuple[str, ...] = ()


def children(dir_fd: int) -> tuple[Entry, ...]:
    """The directory's own children in name order. Raises UnreadableError."""
    with _explained(_path_of(dir_fd)):
        return _list(dir_fd, "")


def tree(dir_fd: int, name: str, *, limit: int = MOST_ENTRIES) -> Tree:
    """Everything below the directory *name* in *dir_fd*, in path order.

    What is mounted inside is listed as Kind.OTHER and not entered. Raises UnreadableError, also
    for more than *limit* entries or more than 64 levels.
    """
    with _explained(f"{_path_of(dir_fd)}/{name}"):
        fd = beneath.open_beneath(dir_fd, name)
        try:
            root = _entry(name, os.fstat(fd), None)
            return Tree(root, tuple(sorted(_below(fd, limit), key=_by_path)))
        finally:
            os.close(fd)


def identity(tree: Tree) -> Identity:
    """Which bytes *tree* is made of; see `model.Identity`."""
    digest = blake2b(digest_size=32)
    for e in sorted(tree.entries, key=_by_path):
        # A path holds no NUL, so no two listings give the same text.
        text = f"{e.path}\0{e.kind}\0{e.inode}\0{e.size}\0{e.mtime_ns}\0"
        digest.update(os.fsencode(text))
    return Identity(tree.root.device, tree.root.inode, digest.hexdigest())


def peek(dir_fd: int) -> Peek:
    """Reads bytes of regular files below *dir_fd*, at most 64 MiB a call (`formats.base.Peek`)."""

    def read(path: str, offset: int, length: int) -> bytes:
        fd = beneath.open_file(dir_fd, path)
        try:
            return os.pread(fd, min(length, MOST_PEEKED), offset)
        finally:
            os.close(fd)

    return read


def find_runs(root: str, recognise: Recognise | None = None) -> Survey:
    """The runs at or below the absolute *root* (no link in it), by one walk down the directories.

    Claims, hidden names, links and mounts are not entered. A root that does not exist is empty;
    whatever else cannot be read is in `unreadable`.
    """
    try:
        fd = beneath.open_directory(root)
    except FileNotFoundError:
        return Survey()
    except OSError as error:
        return Survey(unreadable=(Unreadable(root, _words(error)),))
    try:
        return _Walk(root, fd, recognise or formats.claims).survey()
    finally:
        os.close(fd)


def find_run(path: str, recognise: Recognise | None = None) -> FoundRun | None:
    """The run at the absolute *path*; None where there is none. Raises UnreadableError."""
    try:
        with _explained(path):
            fd = beneath.open_directory(path)
    except UnreadableError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        directory, names = os.fstat(fd), children(fd)
    finally:
        os.close(fd)
    claims = tuple((recognise or formats.claims)(names))
    return _found(path, directory, names, claims) if claims else None


def is_claim(directory: str, name: str) -> bool:
    """Whether *name* in *directory* is a directory that some format claims as a save."""
    try:
        seen = os.lstat(os.path.join(directory, name))
    except OSError:
        return False
    return bool(formats.claims((_entry(name, seen, None),)))


class _Walk:
    """One walk over a watch; paths in `waiting` are relative to its root."""

    def __init__(self, root: str, fd: int, recognise: Recognise) -> None:
        self.root = root
        self.fd = fd
        self.recognise = recognise
        self.waiting = [""]
        self.runs: list[FoundRun] = []
        self.directories: list[str] = []
        self.unreadable: list[Unreadable] = []
        self.places: list[str] = []

    def survey(self) -> Survey:
        while self.waiting:
            if len(self.directories) == MOST_DIRECTORIES:
                self.unreadable.append(Unreadable(self.root, _TOO_MANY))
                break
            self._visit(self.waiting.pop())
        return Survey(
            tuple(self.runs), tuple(self.directories), tuple(self.unreadable), tuple(self.places)
        )

    def _visit(self, below: str) -> None:
        path = os.path.join(self.root, below) if below else self.root
        try:
            fd = beneath.open_beneath(self.fd, below)
            try:
                directory, names = os.fstat(fd), _list(fd, "")
            finally:
                os.close(fd)
        except FileNotFoundError:
            return
        except OSError as error:
            self.unreadable.append(Unreadable(path, _words(error)))
            return
        self.directories.append(path)
        claims = tuple(self.recognise(names))
        if claims:
            self.runs.append(_found(path, directory, names, claims))
        if any(e.name == TRASH and e.kind is Kind.DIRECTORY for e in names):
            self.places.append(path)
        claimed = {claim.name for _, claim in claims}
        self._look_alikes(path, names, claimed)
        self._descend(below, names, claimed)

    def _look_alikes(self, path: str, names: tuple[Entry, ...], claimed: set[str]) -> None:
        """Name what would be a claim if it were a directory."""
        others = {e.name: e for e in names if e.kind is not Kind.DIRECTORY}
        pretended = tuple(replace(e, kind=Kind.DIRECTORY) for e in others.values())
        for _, claim in self.recognise(pretended):
            if claim.name in others and claim.name not in claimed:
                text = _LOOK_ALIKE[others[claim.name].kind]
                lost = Unreadable(os.path.join(path, claim.name), text, passed_over=True)
                self.unreadable.append(lost)

    def _descend(self, below: str, names: tuple[Entry, ...], claimed: set[str]) -> None:
        for entry in reversed(names):
            hidden = entry.name.startswith(".")
            if entry.kind is Kind.DIRECTORY and not hidden and entry.name not in claimed:
                self.waiting.append(os.path.join(below, entry.name))


def _found(
    path: str,
    directory: os.stat_result,
    names: tuple[Entry, ...],
    claims: tuple[tuple[Format, Claim], ...],
) -> FoundRun:
    seen = (directory.st_dev, directory.st_ino, directory.st_uid)
    return FoundRun(path, *seen, names, claims)


# --- one directory -----------------------------------------------------------------------


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


def _list(fd: int, prefix: str) -> tuple[Entry, ...]:
    with os.scandir(fd) as names:
        bounded = [name.name for name in islice(names, MOST_ENTRIES + 1)]
    if len(bounded) > MOST_ENTRIES:
        raise OSError(errno.E2BIG, f"more than {MOST_ENTRIES} entries in one directory")
    found = (_look(fd, name, prefix) for name in sorted(bounded))
    return tuple(entry for entry in found if entry)


def _look(fd: int, name: str, prefix: str) -> Entry | None:
    try:
        seen = os.lstat(name, dir_fd=fd)
        target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(seen.st_mode) else None
    except FileNotFoundError:
        return None
    return _entry(prefix + name, seen, target)


def _entry(path: str, seen: os.stat_result, target: str | None) -> Entry:
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
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableError(f"{show_text(path)} cannot be read: {_words(error)}") from error


def _words(error: OSError) -> str:
    if error.errno == errno.EXDEV:
        return _MOUNT
    return (error.strerror or str(error)).lower()


def _path_of(fd: int) -> str:
    """Where the descriptor leads, for a sentence only."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "a directory"
