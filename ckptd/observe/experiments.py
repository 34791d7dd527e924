"""Which drop-ins hold for a run: found upwards from it, trusted by owner, read when they change.

A drop-in (`.ckptd.toml`) holds for every run at or below its directory if root or the run's owner
wrote it and nobody else can. One that would count and cannot be obeyed freezes these runs: what it
wanted kept is not known. A stranger's does not count at all, or it could freeze others' runs.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from ckptd import beneath, disk, formats
from ckptd.config import LARGEST, Settings, Source, Watch, drop_in, policy_with
from ckptd.errors import ConfigError, Problem, UnansweredError, UnreadableError
from ckptd.model import DROP_IN, Unreadable
from ckptd.mounts import reaching
from ckptd.policy import Policy
from ckptd.units import show_text

_ABSENT: Final = {errno.ENOENT, errno.ENOTDIR}
_FAULTS: Final = {
    errno.ELOOP: "it is a symbolic link, which could lead anywhere; put a file there",
    errno.EINVAL: "it is not a regular file; put a file there",
}
_OTHERS_WRITE: Final = "others may write it, so its owner may not have meant it; chmod go-w it"
_ADRIFT: Final = "anybody may move files into its directory, so it counts for runs of root only"
_WRITTEN: Final = "it is being written at this moment"
_JUST_WRITTEN: Final = "it was written a moment ago, and nothing tells whether that is all of it"
# Seconds. A file may change twice within one tick of its time stamps.
_FRESH: Final = 10.0
# Where no lease tells who writes a file, it is taken as it stands after so many seconds of quiet.
QUIET: Final = 2.0
# Of what is wrong in one: this many problems are told, each in so many characters.
_MOST, _LONGEST = 3, 300


@dataclass(frozen=True, slots=True)
class DropIn:
    """One `.ckptd.toml` as it lies there. `fault` says why it cannot be obeyed.

    `adrift`: it is root's, and anybody might have moved it to where it lies; `settling`: it may
    be obeyed once it has been quiet for `QUIET` seconds. `private`: not for everybody to read.
    """

    path: str
    uid: int | None  # None: not even its owner can be seen
    source: Source = field(default_factory=Source)
    fault: str | None = None
    adrift: bool = False
    settling: bool = False
    private: bool = False

    @property
    def reader(self) -> int | None:
        """Who alone may be told what is written in it; None for everybody."""
        return self.uid if self.private or self.uid else None

    def counts_for(self, uid: int) -> bool:
        """Whether it has a say over a run of user *uid*."""
        return self.uid is None or self.uid == uid or (self.uid == 0 and not self.adrift)


@dataclass(frozen=True, slots=True)
class Experiment:
    """What holds for one run. `adopted`: it lies at or below a drop-in that counts."""

    policy: Policy
    policy_from: tuple[str, ...]
    adopted: bool = False


@dataclass(slots=True)
class DropIns:
    """Drop-ins by path, each parsed once as long as it stays as it is.

    `noticed` is since when, by the monotonic clock, one that is not parsed yet stays as it is.
    """

    known: dict[str, tuple[tuple[int, ...], DropIn]] = field(default_factory=dict)
    noticed: dict[str, tuple[tuple[int, ...], float]] = field(default_factory=dict)

    def read(self, directory: str, uid: int) -> DropIn | None:
        """The drop-in in *directory*; None where there is none.

        One that has no say over a run of *uid* is not even parsed.
        """
        path = os.path.join(directory, DROP_IN)
        try:
            with reaching(directory):
                return self._read(directory, path, uid)
        except UnansweredError as error:
            return DropIn(path, None, fault=str(error))

    def _read(self, directory: str, path: str, uid: int) -> DropIn | None:
        try:
            fd = beneath.open_regular(path)
        except OSError as error:
            self.known.pop(path, None)
            self.noticed.pop(path, None)
            # The run of something in the trash may meanwhile be a link to elsewhere.
            if error.errno in _ABSENT or not os.path.lexists(path):
                return None
            fault = _FAULTS.get(error.errno or 0, f"it cannot be read: {error.strerror}")
            return DropIn(path, _owner(path), fault=fault)
        found = self._parsed(path, fd, uid)
        adrift = found.uid == 0 != uid and _open_to_all(directory)
        return replace(found, fault=_listed_strictly(directory) or found.fault, adrift=adrift)

    def _parsed(self, path: str, fd: int, uid: int) -> DropIn:
        with open(fd, "rb") as file:
            seen = os.fstat(fd)
            if seen.st_uid not in (0, uid):
                return DropIn(path, seen.st_uid)
            version = _version(seen)
            if path in self.known and self.known[path][0] == version:
                return self.known[path][1]
            age = time.time() - seen.st_mtime
            if fault := _under_way(path, fd, max(age, self._quiet(path, version))):
                settling = fault == _JUST_WRITTEN
                return DropIn(path, seen.st_uid, fault=fault, settling=settling)
            found = _understood(path, seen, file.read(LARGEST + 1))
        self.noticed.pop(path, None)
        if age >= _FRESH:
            self.known[path] = (version, found)
        return found

    def _quiet(self, path: str, version: tuple[int, ...]) -> float:
        """Seconds for which we have seen it as it is: a server's clock may be ahead of ours."""
        now = time.monotonic()
        if self.noticed.get(path, (None, now))[0] != version:
            self.noticed[path] = (version, now)
        return now - self.noticed[path][1]


class Experiments:
    """The drop-ins of one look. `frozen` and `strange` say which do not hold, and why.

    `settling`: one of them will hold soon, by itself.
    """

    def __init__(self, settings: Settings, drop_ins: DropIns) -> None:
        self._settings = settings
        self._drop_ins = drop_ins
        self._here: dict[tuple[str, int], DropIn | None] = {}
        self._resolved: dict[tuple[str, ...], Experiment] = {}
        self.frozen: dict[str, Unreadable] = {}
        self.strange: dict[str, Unreadable] = {}
        self.settling = False

    def of(self, run: str, uid: int, watch: Watch) -> Experiment:
        """What holds for the run at the absolute path *run*, whose owner is *uid*."""
        found = [self.at(place, uid) for place in _at_and_above(run)] if watch.drop_ins else []
        counting = tuple(one for one in reversed(found) if one and one.counts_for(uid))
        key = tuple(one.path for one in counting)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(counting)
        return self._resolved[key]

    def at(self, directory: str, uid: int) -> DropIn | None:
        """The drop-in of *directory*, noted when it does not hold for a run of *uid*."""
        key = (directory, uid)
        if key not in self._here:
            self._here[key] = self._drop_ins.read(directory, uid)
        found = self._here[key]
        self.settling = self.settling or bool(found and found.settling)
        if found and found.fault and found.counts_for(uid):
            self._freeze(found, found.fault)
        elif found and not found.counts_for(uid):
            text = (
                f"it belongs to user {found.uid}, so it counts only for runs of that user;"
                f" those of user {uid} go on without it"
            )
            text = _ADRIFT if found.adrift else text
            self.strange[found.path] = Unreadable(found.path, text, passed_over=True)
        return found

    def _resolve(self, counting: Sequence[DropIn]) -> Experiment:
        names = (*self._settings.source, *(one.path for one in counting))
        faulty = next((one for one in reversed(counting) if one.fault), None)
        try:
            policy, names = policy_with(
                self._settings, [one.source for one in counting if not one.fault]
            )
        except ConfigError as error:
            policy, faulty = self._settings.policies.default, counting[-1]
            faulty = replace(faulty, fault=_told(faulty.path, error.problems))
            self._freeze(faulty, faulty.fault or "")
        if faulty:
            # A run's owner is told this, and root's own file may not be theirs to read.
            kept_back = faulty.private and faulty.uid == 0
            why = "root is told why" if kept_back else faulty.fault
            text = f"{show_text(faulty.path)} cannot be obeyed: {why}"
            policy = replace(policy, frozen=text)
        return Experiment(policy, names, adopted=bool(counting))

    def _freeze(self, drop_in: DropIn, fault: str) -> None:
        text = f"{fault}; until then no run at or below it is touched"
        self.frozen[drop_in.path] = Unreadable(drop_in.path, text, uid=drop_in.reader)


def _under_way(path: str, fd: int, quiet: float) -> str | None:
    """Why a file that has been as it is for *quiet* seconds may not be all its writer means."""
    written = None if _shared(os.path.dirname(path)) else beneath.open_for(fd, write_only=True)
    if written is None:
        return None if quiet >= QUIET else _JUST_WRITTEN
    return _WRITTEN if written else None


def _shared(directory: str) -> bool:
    """Whether other hosts may write there: then a lease proves nothing. So it is in doubt."""
    try:
        return disk.measure(directory).shared
    except UnreadableError:
        return True


def _understood(path: str, seen: os.stat_result, raw: bytes) -> DropIn:
    if stat.S_IMODE(seen.st_mode) & 0o022:
        return DropIn(path, seen.st_uid, fault=_OTHERS_WRITE)
    source = drop_in(path, raw)
    fault = _told(path, source.problems) if source.problems else None
    private = not seen.st_mode & stat.S_IROTH
    return DropIn(path, seen.st_uid, source, fault, private=private)


def _listed_strictly(directory: str) -> str | None:
    """Why no drop-in may lie in *directory*: its trainer would fail on it."""
    if os.path.basename(directory) != formats.STRICT:
        return None
    names: list[str] = []
    with suppress(OSError):  # an empty one is as strict
        names = os.listdir(directory)
    trainer = formats.lists_strictly(directory, names)
    if trainer is None:
        return None
    above = show_text(os.path.join(os.path.dirname(directory), DROP_IN))
    return f"{trainer} fails on any name here that is no checkpoint; move it to {above}"


def _open_to_all(directory: str) -> bool:
    """Whether anybody may move a file of root's from a directory of theirs into this one."""
    with suppress(OSError):
        return bool(os.stat(directory).st_mode & stat.S_IWOTH)
    return True


def _told(path: str, problems: Sequence[Problem]) -> str:
    """The first problems in one sentence, without the path that stands before it."""
    shown = [str(p).removeprefix(f"{show_text(path)}: ")[:_LONGEST] for p in problems[:_MOST]]
    more = len(problems) - _MOST
    return " | ".join([*shown, f"and {more} more"] if more > 0 else shown)


def _version(seen: os.stat_result) -> tuple[int, ...]:
    times = (seen.st_mtime_ns, seen.st_ctime_ns)
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mode, seen.st_uid, *times)


def _owner(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def _at_and_above(path: str) -> Iterator[str]:
    yield path
    while path != "/":
        path = os.path.dirname(path)
        yield path
