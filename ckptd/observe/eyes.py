"""One look at everything: watches to runs, disks, trash, in one World."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from ckptd import disk, procs, scan, trash
from ckptd.config import Settings, Watch
from ckptd.errors import UnreadableError
from ckptd.ledger import LedgerView
from ckptd.model import Filesystem, Run, TrashItem, Unreadable, World
from ckptd.observe.memory import Memory
from ckptd.observe.recall import recalling
from ckptd.observe.run import see
from ckptd.observe.save import Moment, Surroundings

# A first save is born under a watch when none of its files is older than the look before it.
BIRTH_SLACK: Final = 2.0


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw: the World, where to watch next, and who was born.

    `directories` are to be watched for arrivals, `writing` for the end of writing; `born` are
    runs whose first save appeared since the look before. `unsure`: some health hangs on who
    uses the run, and nobody asked. `polled`: somewhere events may not tell of all that happens.
    """

    world: World
    directories: tuple[str, ...]
    writing: tuple[str, ...]
    born: tuple[Run, ...]
    unsure: bool
    polled: bool


@dataclass(slots=True)
class Eyes:
    """Looks with what was configured, what the ledger knows and what was seen before.

    `launchers` are processes that name a run only because they started us; while
    `command_lives`, every run belongs to a live process (`exec`). `wanted` are real paths that
    COMMAND names, in its words or in a file: it is about to read them.
    """

    settings: Settings
    ledger: LedgerView
    memory: Memory = field(default_factory=Memory)
    launchers: frozenset[int] = frozenset()
    command_lives: bool = False
    wanted: frozenset[str] = frozenset()

    def look(self, *, users: bool) -> Look:
        """Looks at every watch; *users* asks `/proc` and leases who uses what."""
        gaze = _Gaze(self, users=users)
        # Of watches that overlap the one named on the command line has a run: it adopts.
        for watch in sorted(self.watches(), key=lambda watch: not watch.named):
            gaze.take(watch)
        gaze.keep_in_mind()
        return gaze.look()

    def look_at(self, run: Run) -> Run | None:
        """One run again, with everyone who uses it; None when it is gone or cannot be seen."""
        watch = next((w for w in self.watches() if w.path == run.watch), None)
        found = scan.find_run(run.path)
        if watch is None or found is None:
            return None
        gaze = _Gaze(self, users=True)
        gaze.at_run(found, watch)
        return gaze.runs[0] if gaze.runs else None

    def is_run(self, path: str) -> bool:
        """Whether *path* is a directory that checkpoints land in; no trash may lie there."""
        return scan.find_run(path) is not None

    def watches_of(self, run: str) -> Iterator[str]:
        """The watches that *run* lies in."""
        return (watch.path for watch in self.watches() if is_below(run, watch.path))

    def watches(self) -> Iterator[Watch]:
        """The configured watches, each a real path that may not exist yet."""
        for watch in self.settings.watches:
            # A PATH means itself: `exp[lr=1e-4]` may not exist yet, and the shell expands globs.
            paths = (os.path.realpath(watch.path),) if watch.named else expand(watch.path)
            for path in paths:
                yield replace(watch, path=path)


def is_below(path: str, directory: str) -> bool:
    """Whether *path* is *directory* or lies below it."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def expand(pattern: str) -> tuple[str, ...]:
    """The real directories that a watch's path or glob names; a plain path need not exist yet."""
    if glob.has_magic(pattern) and not os.path.lexists(pattern):
        return tuple(dict.fromkeys(os.path.realpath(path) for path in sorted(glob.glob(pattern))))
    return (os.path.realpath(pattern),)


class _Gaze:
    """One look under way."""

    def __init__(self, eyes: Eyes, *, users: bool) -> None:
        self._eyes = eyes
        self._at = Moment(datetime.now(UTC), time.monotonic())
        self._snapshot = procs.look(ignore=eyes.launchers) if users else None
        self._filesystems: dict[str, Filesystem] = {}
        self._directories: list[str] = []
        self._writing: list[str] = []
        self._unreadable: list[Unreadable] = []
        self._trash: list[TrashItem] = []
        self._born: list[Run] = []
        self._unsure = False
        self._polled = False
        self.runs: list[Run] = []

    def take(self, watch: Watch) -> None:
        """Looks at one watch; one that cannot be seen does not keep us from the others."""
        try:
            self._at_watch(watch)
        except UnreadableError as error:
            self._unreadable.append(Unreadable(watch.path, str(error)))

    def _at_watch(self, watch: Watch) -> None:
        survey = scan.find_runs(watch.path)
        self._directories += (watch.path, *survey.directories)
        self._polled = self._polled or _needs_polling(watch)
        self._unreadable += survey.unreadable
        if not os.path.isdir(watch.path):
            return
        seen = {run.path for run in self.runs}
        for found in survey.runs:
            if found.path not in seen:
                self.at_run(found, watch)
        listed, strange = trash.below(watch.path, survey.places, recalling(self._eyes.ledger))
        place = self._filesystem(watch.path).path
        self._trash += (replace(item, filesystem=place) for item in listed)
        self._unreadable += strange

    def at_run(self, found: scan.FoundRun, watch: Watch) -> None:
        try:
            seen = see(found, self._around(watch, found.path), self._eyes.memory)
        except UnreadableError as error:
            self._unreadable.append(Unreadable(found.path, str(error)))
            return
        run = self._adopt(seen.run, watch, whole=not seen.unreadable)
        self.runs.append(run)
        self._unreadable += seen.unreadable
        self._writing += seen.writing
        self._unsure = self._unsure or seen.unsure

    def keep_in_mind(self) -> None:
        """What the next look is compared with."""
        memory = self._eyes.memory
        paths = {run.path for run in self.runs}
        memory.forget({(r.path, c.name) for r in self.runs for c in r.checkpoints}, paths)
        born = {run.path for run in self._born}
        judged = {run.path for run in self.runs if run.path in born or run.checkpoints}
        memory.runs |= {path: path in born for path in judged - memory.runs.keys()}
        memory.looked_at = self._at.now.timestamp()

    def look(self) -> Look:
        world = World(
            tuple(self.runs),
            tuple({fs.path: fs for fs in self._filesystems.values()}.values()),
            tuple(dict.fromkeys(self._trash)),
            tuple(dict.fromkeys(self._unreadable)),
        )
        directories = tuple(dict.fromkeys(self._directories))
        return Look(
            world, directories, tuple(self._writing), tuple(self._born), self._unsure, self._polled
        )

    @cached_property
    def _adopted(self) -> Mapping[str, int]:
        """What the ledger knows, asked once in a look: it reads a megabyte of slots for it."""
        return self._eyes.ledger.adopted()

    def _around(self, watch: Watch, run: str) -> Surroundings:
        settings = self._eyes.settings
        return Surroundings(
            watch,
            settings.policies.of(run),
            self._filesystem(watch.path),
            settings.trust,
            self._at,
            self._snapshot,
            self._eyes.command_lives,
            settings.source,
            self._eyes.wanted,
        )

    def _filesystem(self, path: str) -> Filesystem:
        """The filesystem of a watch; watches on one filesystem share one value."""
        if path not in self._filesystems:
            measured = disk.measure(path)
            self._filesystems[path] = next(
                (fs for fs in self._filesystems.values() if _same(fs, measured)), measured
            )
        return self._filesystems[path]

    def _adopt(self, run: Run, watch: Watch, *, whole: bool) -> Run:
        """*run*, adopted or not; *whole*: every save in it could be seen."""
        memory = self._eyes.memory
        every = watch.named or watch.adopt == "all"
        if every or self._adopted.get(run.path) == run.inode:
            return replace(run, adopted=True)
        if not memory.runs.get(run.path, whole and _is_born(run, memory.looked_at)):
            return run
        born = replace(run, adopted=True)
        self._born.append(born)  # at each look, until the ledger knows
        return born


def _needs_polling(watch: Watch) -> bool:
    if watch.events == "auto":
        return disk.events_arrive(watch.path) != "inotify"
    return watch.events == "poll"


def _is_born(run: Run, looked_at: float | None) -> bool:
    """Whether the first save of a new run appeared since the last look (None: there was none).

    A run that was moved or copied in keeps its old times.
    """
    if looked_at is None or not run.checkpoints:
        return False
    return all(c.saved_at.timestamp() >= looked_at - BIRTH_SLACK for c in run.checkpoints)


def _same(one: Filesystem, other: Filesystem) -> bool:
    """Whether two measurements are of one filesystem: a project quota shows another total."""
    return one.mount == other.mount and one.total == other.total
