"""What a scan saw: names, sizes and times, links not followed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

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
    def shared(self) -> int:
        """Bytes on disk that have names outside as well: unlinking this tree does not free them."""
        names = Counter((e.device, e.inode) for e in self.files)
        kept = {
            (e.device, e.inode): e.allocated
            for e in self.files
            if e.links > names[e.device, e.inode]
        }
        return sum(kept.values())


@dataclass(frozen=True, slots=True)
class Identity:
    """Which bytes these are. Equal identities: nothing inside was added, replaced or rewritten.

    `digest` covers the path, kind, inode, size and mtime of every entry below; the mode, the
    owner and extended attributes are left out, so that a pin changes nothing.
    """

    device: int
    inode: int
    digest: str
