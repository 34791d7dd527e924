"""Trees and peeks for the formats: from a dictionary of bytes, or from a directory."""

from __future__ import annotations

import math
import os
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import corpus

from ckptd import formats
from ckptd.formats.base import Claim
from ckptd.formats.huggingface import HUGGINGFACE
from ckptd.formats.trainer_state import step_of
from ckptd.model import Entry, Findings, Health, Kind, Tree

DATA = Path(__file__).parent / "data"
T0 = 1_700_000_000 * 10**9


def entry(path: str, *, size: int = 0, kind: Kind = Kind.FILE, **fields) -> Entry:
    """An entry with an inode of its own (made from its path) and a block for each 4 KiB."""
    known = {
        "device": 1,
        "inode": hash(path) & 0xFFFFFFFF,
        "allocated": -(-size // 4096) * 4096,
        "links": 1,
        "uid": 1000,
        "mode": 0o644,
        "mtime_ns": T0,
    }
    return Entry(path=path, kind=kind, size=size, **(known | fields))


@dataclass
class Save:
    """A claim that lies in memory: `files` in the order in which they were written, 1 s apart.

    `others` are further entries; `unreadable` maps paths to what reading them raises.
    """

    name: str
    files: Mapping[str, bytes]
    others: tuple[Entry, ...] = ()
    unreadable: Mapping[str, OSError] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)  # seconds after T0
    opened: list[str] = field(default_factory=list)

    @property
    def tree(self) -> Tree:
        files = (
            entry(path, size=len(content), mtime_ns=T0 + self.times.get(path, n) * 10**9)
            for n, (path, content) in enumerate(self.files.items())
        )
        entries = tuple(sorted((*files, *self.others), key=lambda e: e.path))
        return Tree(entry(self.name, kind=Kind.DIRECTORY, mtime_ns=T0 + 999 * 10**9), entries)

    def peek(self, path: str, offset: int, length: int) -> bytes:
        self.opened.append(path)
        if path in self.unreadable:
            raise self.unreadable[path]
        return self.files[path][offset : offset + length]

    def inspect(self) -> Findings:
        return HUGGINGFACE.inspect(Claim(self.name, step_of(self.name)), self.tree, self.peek)

    def having(self, files: Mapping[str, bytes]) -> Save:
        return replace(self, files={**self.files, **files}, opened=[])

    def without(self, *paths: str) -> Save:
        return replace(self, files={p: b for p, b in self.files.items() if p not in paths})


FILES = corpus.checkpoint_files("/run", 50, eval_loss=0.4, best=50, size=64, limit=3)
SAVE = Save("checkpoint-50", FILES)


def health(found: Findings, siblings: Sequence[Findings] = ()) -> tuple[Health, str]:
    """The judgement on a save that nobody has touched for ever."""
    return formats.judge(found, siblings, quiet=math.inf, writer=None, may_write=False, settle=5.0)


def children(directory: Path, below: str = "") -> tuple[Entry, ...]:
    """A directory's own children as lstat says."""
    return tuple(
        _lstat(directory, f"{below}{name}") for name in sorted(os.listdir(directory / below))
    )


def tree(directory: Path) -> Tree:
    """Everything below *directory*."""
    found: list[Entry] = []
    waiting = [""]
    while waiting:
        for child in children(directory, waiting.pop()):
            found.append(child)
            if child.kind is Kind.DIRECTORY:
                waiting.append(f"{child.path}/")
    return Tree(_lstat(directory.parent, directory.name), tuple(found))


def inspect(directory: Path) -> Findings:
    """The findings of the real checkpoint in *directory*."""

    def peek(path: str, offset: int, length: int) -> bytes:
        with open(directory / path, "rb") as file:
            return os.pread(file.fileno(), length, offset)

    name = directory.name
    return HUGGINGFACE.inspect(Claim(name, step_of(name)), tree(directory), peek)


def unpack(name: str, place: Path) -> Path:
    """Unpacks `tests/data/<name>.tar.gz` below *place*; the directory of the run in it."""
    with tarfile.open(DATA / f"{name}.tar.gz") as archive:
        # As PEP 706 says for versions with and without filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        archive.extractall(place)
    return place / name


def _lstat(directory: Path, path: str) -> Entry:
    seen = os.lstat(directory / path)
    return entry(
        path,
        size=seen.st_size,
        kind=_kind(seen.st_mode),
        inode=seen.st_ino,
        device=seen.st_dev,
        allocated=seen.st_blocks * 512,
        mtime_ns=seen.st_mtime_ns,
    )


def _kind(mode: int) -> Kind:
    kinds = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK}
    return kinds.get(stat.S_IFMT(mode), Kind.OTHER)
