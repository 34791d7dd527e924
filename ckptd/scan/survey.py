"""The runs below a watch, by one walk down its directories."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ckptd import beneath, formats
from ckptd.errors import UnreadableError
from ckptd.formats.base import Claim, Format
from ckptd.model import DROP_IN, TRASH, Entry, Kind, Unreadable
from ckptd.scan.listing import MOST_ENTRIES, entry_of, explained, listed, words

Recognise = Callable[[Sequence[Entry]], Sequence[tuple[Format, Claim]]]

_LOOK_ALIKE: Final = {
    Kind.SYMLINK: "a symbolic link named like a checkpoint; a link is never followed or moved",
    Kind.FILE: "a file named like a checkpoint directory, so it is left alone",
    Kind.OTHER: "neither file nor directory though named like a checkpoint, so it is left alone",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one walk looks at: entries of a directory, and of each user directories and children
    of runs, so that nobody's trees hide those of others.
    """

    entries: int = MOST_ENTRIES
    directories: int = 100_000
    children: int = 100_000


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A directory with at least one claim; of its children no files but exports."""

    path: str
    device: int
    inode: int
    uid: int
    children: tuple[Entry, ...]
    claims: tuple[tuple[Format, Claim], ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies below a watch: runs, every directory looked into, and what could not be seen.

    `places` are those of the directories that hold a `.ckptd-trash`, `experiments` those that
    hold a `.ckptd.toml`, whatever it is.
    """

    runs: tuple[FoundRun, ...] = ()
    directories: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    places: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()


def find_runs(
    root: str,
    recognise: Recognise | None = None,
    beat: Callable[[], None] = lambda: None,
    limits: Limits = LIMITS,
) -> Survey:
    """The runs at or below the absolute *root* (no link in it), by one walk down the directories.

    Claims, hidden names, links and mounts are not entered. A root that does not exist is empty;
    whatever else cannot be read is in `unreadable`. *beat* is called for each directory.
    """
    try:
        fd = beneath.open_directory(root)
    except FileNotFoundError:
        return Survey()
    except OSError as error:
        return Survey(unreadable=(Unreadable(root, words(error)),))
    try:
        return _Walk(root, fd, recognise or formats.claims, beat, limits).survey()
    finally:
        os.close(fd)


def find_run(path: str, recognise: Recognise | None = None) -> FoundRun | None:
    """The run at the absolute *path*; None where there is none. Raises UnreadableError."""
    try:
        with explained(path):
            fd = beneath.open_directory(path)
    except UnreadableError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        with explained(path):
            directory, names = listed(fd, "", MOST_ENTRIES)
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
    return bool(formats.claims((entry_of(name, seen, None),)))


class _Walk:
    """One walk over a watch; paths in `waiting` are relative to its root."""

    def __init__(
        self,
        root: str,
        fd: int,
        recognise: Recognise,
        beat: Callable[[], None],
        limits: Limits,
    ) -> None:
        self.limits = limits
        self.root = root
        self.fd = fd
        self.recognise = recognise
        self.beat = beat
        self.waiting = [""]
        self.entered: Counter[int] = Counter()  # directories by owner
        self.kept: Counter[int] = Counter()  # children of runs by owner
        self.runs: list[FoundRun] = []
        self.directories: list[str] = []
        self.unreadable: list[Unreadable] = []
        self.places: list[str] = []
        self.experiments: list[str] = []

    def survey(self) -> Survey:
        while self.waiting:
            self.beat()
            self._visit(self.waiting.pop())
        return Survey(
            tuple(self.runs),
            tuple(self.directories),
            tuple(self.unreadable),
            tuple(self.places),
            tuple(self.experiments),
        )

    def _visit(self, below: str) -> None:
        path = os.path.join(self.root, below) if below else self.root
        try:
            directory, names = listed(self.fd, below, self.limits.entries)
        except FileNotFoundError:
            return
        except OSError as error:
            self.unreadable.append(Unreadable(path, words(error)))
            return
        self.directories.append(path)
        claims = tuple(self.recognise(names))
        if claims:
            self._keep(_found(path, directory, names, claims))
        if any(e.name == TRASH and e.kind is Kind.DIRECTORY for e in names):
            self.places.append(path)
        if any(e.name == DROP_IN for e in names):
            self.experiments.append(path)
        claimed = {claim.name for _, claim in claims}
        self._look_alikes(path, names, claimed)
        self._descend(below, names, claimed)

    def _keep(self, run: FoundRun) -> None:
        most = self.limits.children
        if self.kept[run.uid] + len(run.children) > most:
            text = f"more than {most} saves and links lie in the runs of user {run.uid}"
            self.unreadable.append(Unreadable(run.path, f"{text}, so this one is not looked at"))
            return
        self.kept[run.uid] += len(run.children)
        self.runs.append(run)

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
                self._wait_for(os.path.join(below, entry.name), entry.uid)

    def _wait_for(self, below: str, uid: int) -> None:
        self.entered[uid] += 1
        if self.entered[uid] <= self.limits.directories:
            self.waiting.append(below)
        elif self.entered[uid] == self.limits.directories + 1:
            text = (
                f"user {uid} has more than {self.limits.directories} directories here; the others"
                " of that user are not looked into, so name narrower watches"
            )
            self.unreadable.append(Unreadable(self.root, text))


def _found(
    path: str,
    directory: os.stat_result,
    names: tuple[Entry, ...],
    claims: tuple[tuple[Format, Claim], ...],
) -> FoundRun:
    seen = (directory.st_dev, directory.st_ino, directory.st_uid)
    exports = formats.exports(names)
    kept = tuple(e for e in names if e.kind is not Kind.FILE or e.name in exports)
    return FoundRun(path, *seen, kept, claims)
