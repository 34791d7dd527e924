"""What a scan saw: names, sizes and times, links not followed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ckptd.model.words import Kind


@dataclass(frozen=True, slots=True)
class Entry:
    """One name as a scan saw it: lstat, no link followed.

    `path` is relative to the directory that was listed. `allocated` is `st_blocks * 512`.
    """

    path: str
    kind: Kind
    device: int
    inode: int
    size: int
    allocated: int
    links: int
    uid: int
    mode: int
    mtime_ns: int
    target: str | None = None
    ctime_ns: int = 0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Linked:
    """A file with hard links outside the tree it was found in, where it has *names* of *links*.

    Its `bytes` on disk come free with its last name.
    """

    device: int
    inode: int
    bytes: int
    names: int
    links: int

    @property
    def key(self) -> tuple[int, int]:
        return (self.device, self.inode)


@dataclass(frozen=True, slots=True)
class Tree:
    """A claimed directory and everything below it; entry paths are relative to it."""

    root: Entry
    entries: tuple[Entry, ...]

    @property
    def files(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.kind is Kind.FILE)

    @property
    def allocated(self) -> int:
        """Bytes on disk, each inode once although it has several names."""
        sizes = {(e.device, e.inode): e.allocated for e in (self.root, *self.entries)}
        return sum(sizes.values())

    @property
    def inodes(self) -> int:
        """Inodes that come free with it, the directories among them."""
        names = Counter((e.device, e.inode) for e in self.entries)
        dirs = 1 + sum(e.kind is Kind.DIRECTORY for e in self.entries)
        own = {
            (e.device, e.inode)
            for e in self.entries
            if e.kind is not Kind.DIRECTORY and e.links <= names[e.device, e.inode]
        }
        return dirs + len(own)

    @property
    def linked(self) -> tuple[Linked, ...]:
        """The files that have names outside as well: unlinking this tree does not free them."""
        names = Counter((e.device, e.inode) for e in self.files)
        found = {
            key: Linked(e.device, e.inode, e.allocated, names[key], e.links)
            for e in self.files
            if e.links > names[key := (e.device, e.inode)]
        }
        return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Identity:
    """Which bytes these are. Equal identities: nothing inside was added, replaced or rewritten.

    `digest` covers the path, kind, inode, size and mtime of every entry below; the mode, the
    owner and extended attributes are left out, so that a pin changes nothing. `touched` covers the
    times of change of the files, which a person cannot put back: who rewrites one in place may
    leave its size and mtime as they were. It is no part of being equal; `is_untouched` asks it.
    """

    device: int
    inode: int
    digest: str
    touched: str = field(default="", compare=False)

    def is_untouched(self, now: Identity) -> bool:
        """Whether *now* are the same bytes, and nobody has had a hand on them since."""
        return (self, self.touched) == (now, now.touched)
