"""What one daemon shows: written when it changes, at most once a second."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from ckptd import places, procs, render
from ckptd.config import Settings
from ckptd.errors import RefusedError
from ckptd.model import Plan, World
from ckptd.render import Document
from ckptd.status import files
from ckptd.status.users import Heard, of_user, owners
from ckptd.units import show_text

REMEMBERED: Final = 200  # events
AT_MOST_EVERY: Final = 1.0
# However much there is to show, writing it takes at most this share of a processor.
SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class About:
    """What a daemon says of itself: its command, mode, and the watches and files it obeys."""

    command: str
    mode: str
    watches: tuple[str, ...] = ()
    config: tuple[str, ...] = ()

    def under(self, settings: Settings) -> About:
        """The same daemon, obeying *settings*."""
        watches = tuple(watch.path for watch in settings.watches)
        return About(self.command, settings.mode, watches, settings.source)


def _now() -> str:
    return render.moment_text(datetime.now(UTC))


@dataclass(slots=True)
class Board:
    """What one daemon shows. Nothing here raises: a reader's comfort stops no daemon.

    `about` may be set anew at any time. `trouble` is one sentence on why the last post could not
    be written, None when it was.
    """

    about: About
    places: Sequence[str]
    trouble: str | None = None
    _owners: Mapping[str, int] = field(default_factory=dict)
    _heard: deque[Heard] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _started_at: str = field(default_factory=_now)
    _place: str | None = None
    _written: dict[str, tuple[int, float]] = field(default_factory=dict)
    _again: float = 0.0
    _held_back: bool = False

    @classmethod
    def of(cls, state: str | None, about: About) -> Board:
        """The board of this process; *state* is what `--state` says, or None."""
        return cls(about, places.report_places(state))

    @property
    def due(self) -> float:
        """Seconds until a `post` that came too soon wants to be repeated, else infinite."""
        return max(0.0, self._again - time.monotonic()) if self._held_back else math.inf

    def hear(self, event: Mapping[str, Any]) -> None:
        """Remembers one audit event (what `audit.event` makes of a record)."""
        self._heard.append(Heard(event))
        self._heard[-1].find_owner(self._owners)

    def post(self, plan: Plan, world: World) -> bool:
        """Shows *world* and what was planned for it. False when that failed; see `trouble`.

        What comes less than a second after the last post is held back; see `due`.
        """
        begun = time.monotonic()
        self._held_back = begun < self._again
        if self._held_back:
            return self.trouble is None
        try:
            with self._opened() as directory:
                self._write(directory, plan, world)
            self.trouble = None
        except (OSError, RefusedError) as error:
            self.trouble = f"what this ckptd sees cannot be shown by ckptd status: {error}"
        ended = time.monotonic()
        self._again = ended + max(AT_MOST_EVERY, (ended - begun) / SHARE)
        return self.trouble is None

    def close(self) -> None:
        """Takes this daemon's files away."""
        with suppress(OSError, RefusedError):
            if self._place is not None:
                with _directory(self._place) as directory:
                    self._take_away(directory, kept=set())

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The first place that takes files of ours. It stays the place, and is made anew if gone.

        What dead daemons left there is taken away.
        """
        if self._place is not None:
            with _directory(self._place) as directory:
                yield directory
            return
        self._place = _first_usable(self.places)
        with _directory(self._place) as directory:
            _sweep(directory)
            yield directory

    def _write(self, directory: int, plan: Plan, world: World) -> None:
        there = os.listdir(directory)  # a service manager clears it when a unit stops
        for gone in self._written.keys() - {*there}:
            del self._written[gone]
        kept: set[str] = set()
        failures: list[OSError] = []
        for uid, document in self._documents(plan, world):
            kept.add(name := files.name_of(uid, os.getpid()))
            try:
                self._write_one(directory, name, uid, document)
            except OSError as error:
                failures.append(error)
        self._take_away(directory, kept)
        if failures:
            raise failures[0]

    def _write_one(self, directory: int, name: str, uid: int, document: Document) -> None:
        made_at = document.pop("made_at")  # changes by itself
        content = hash(render.dumps(document, indent=None))
        before, at = self._written.get(name, (None, -math.inf))
        if content == before and time.monotonic() - at < files.REWRITTEN:
            return
        document["made_at"] = made_at
        document["daemon"]["looked_at"] = _now()
        _replace(directory, name, uid, render.dumps(document, indent=None).encode())
        self._written[name] = (content, time.monotonic())

    def _take_away(self, directory: int, kept: set[str]) -> None:
        for name in self._written.keys() - kept:
            del self._written[name]
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)

    def _documents(self, plan: Plan, world: World) -> Iterator[tuple[int, Document]]:
        """Everything for ourselves, and where we are root for each user what is theirs."""
        own = os.geteuid()
        users = {run_plan.run.uid for run_plan in plan.runs} - {own} if own == 0 else set()
        self._owners = owners(plan, world, self._owners)
        for heard in self._heard:
            heard.find_owner(self._owners)
        yield own, self._document(self.about, plan, world, [heard.event for heard in self._heard])
        for uid in sorted(users):
            theirs, their_world = of_user(uid, plan, world)
            watches = {run_plan.run.watch for run_plan in theirs.runs}
            about = replace(self.about, watches=tuple(sorted(watches)))
            events = [heard.event for heard in self._heard if heard.uid == uid]
            yield uid, self._document(about, theirs, their_world, events)

    def _document(
        self, about: About, plan: Plan, world: World, events: Sequence[Mapping[str, Any]]
    ) -> Document:
        daemon = {
            "pid": os.getpid(),
            "uid": os.geteuid(),
            "start": procs.began(os.getpid()),
            "where": files.where(),
            "started_at": self._started_at,
            "command": about.command,
            "mode": about.mode,
            "watches": [render.plain(path) for path in about.watches],
            "config": [render.plain(path) for path in about.config],
        }
        shown = {**render.report_json(plan, world), "daemon": daemon}
        return shown | {"events": [render.event_json(event) for event in events]}


# --- the directory -----------------------------------------------------------------------


def _first_usable(candidates: Sequence[str]) -> str:
    """The first directory that takes a file of ours; the OSError of the first when none does."""
    failures: list[OSError | RefusedError] = []
    for place in candidates:
        try:
            with _directory(place) as directory:
                _replace(directory, name := files.name_of(os.geteuid(), os.getpid()), None, b"")
                os.unlink(name, dir_fd=directory)
        except (OSError, RefusedError) as error:
            failures.append(error)
        else:
            return place
    raise failures[0]


@contextmanager
def _directory(place: str) -> Iterator[int]:
    """A descriptor of the directory *place*, made when missing; RefusedError if others may write.

    Root's is open for all to pass: each file in it has its own owner.
    """
    directory = _open_or_make(place)
    try:
        seen = os.fstat(directory)
        if seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
            raise RefusedError(f"others may write in {show_text(place)}, so nothing is put there")
        yield directory
    finally:
        os.close(directory)


def _open_or_make(place: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        return os.open(place, flags)
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(place, 0o700)
    directory = os.open(place, flags)
    if os.geteuid() == 0 and os.fstat(directory).st_uid == 0:
        os.fchmod(directory, 0o755)
    return directory


def _replace(directory: int, name: str, uid: int | None, content: bytes) -> None:
    """Puts *content* under *name*, for *uid* alone to read, whole or not at all."""
    temporary = f".{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
            file.flush()
            if uid not in (None, os.geteuid()):
                os.fchown(file.fileno(), uid, -1)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def _sweep(directory: int) -> None:
    """Takes away what dead daemons left."""
    for name in os.listdir(directory):
        if files.NAME.fullmatch(name):
            with suppress(OSError):
                if not _lives_in(directory, name):
                    os.unlink(name, dir_fd=directory)


def _lives_in(directory: int, name: str) -> bool:
    age = files.age(directory, name)
    try:
        return files.lives(files.load(directory, name), age)
    except ValueError:  # what was cut off says nothing of its writer
        return age < files.FRESH
