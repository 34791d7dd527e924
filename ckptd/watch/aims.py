"""Which directories are watched, for what, and for whom an event rings."""

from __future__ import annotations

import errno
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from ckptd.errors import UnansweredError
from ckptd.mounts import reaching, step
from ckptd.watch import inotify
from ckptd.watch.inotify import Inotify, Stir

_LOST: Final = inotify.IGNORED | inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT
_NOT_THERE: Final = {errno.ENOENT, errno.ENOTDIR}
_REASONS: Final = {
    errno.ENOSPC: "the limit of inotify watches is reached; raise fs.inotify.max_user_watches",
    errno.EMFILE: "no inotify instance is left; raise fs.inotify.max_user_instances",
}
# A directory that appears while its ancestor is aimed at is tried again this often.
_ATTEMPTS: Final = 5


class Interest(IntEnum):
    """What in a directory rings. The low 32 bits are the inotify mask."""

    ARRIVALS = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO
    WRITING = ARRIVALS | inotify.CLOSE_WRITE
    # Of configuration files alone: others write beside them all the time, as a trainer its log.
    CONFIGURATION = WRITING | 1 << 32
    # Arrivals of everything, and the end of writing of configuration files.
    EXPERIMENT = WRITING | 1 << 33

    @property
    def of_all(self) -> int:
        """The inotify mask of what rings whatever its name is."""
        return {Interest.CONFIGURATION: 0, Interest.EXPERIMENT: Interest.ARRIVALS}.get(self, self)


@dataclass(slots=True)
class _Watched:
    """For whom one watch rings: the *targets* it was asked for, by what happens in it,
    *configured* ones by what happens to configuration files in it, and
    *awaited* ones further below that do not exist yet, by the name they need next.
    """

    mask: int = 0
    configured: set[str] = field(default_factory=set)
    targets: set[str] = field(default_factory=set)
    awaited: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def rings(self) -> set[str]:
        return self.targets.union(self.configured, *self.awaited.values())


@dataclass(slots=True)
class _Aiming:
    """What an `aim` under way watches already, what has stirred since it began, and rung."""

    watched: dict[int, _Watched] = field(default_factory=dict)
    stirs: dict[Stir, None] = field(default_factory=dict)
    rung: set[str] = field(default_factory=set)


class Aims:
    """The watched directories of one inotify descriptor, shared by who aims and who listens."""

    def __init__(self) -> None:
        """Raises OSError when there is no descriptor to be had."""
        self._inotify = Inotify()
        self._lock = threading.Lock()
        self._watched: dict[int, _Watched] = {}
        self._aiming: _Aiming | None = None
        self.unwatched: Mapping[str, str] = {}

    def aim(self, targets: Mapping[str, Interest]) -> tuple[frozenset[str], frozenset[str]]:
        """Watches *targets* and nothing else.

        Returns those that were not watched so before, and those in which something has stirred
        meanwhile that nobody heard. Each is added again each time: that is how a path that
        meanwhile leads to another directory is noticed, and it costs a few microseconds.
        """
        aiming = _Aiming()
        with self._lock:
            self._aiming = aiming
        # Without the lock: an add may take long, and who listens meanwhile must not wait for it.
        reasons = {}
        for target, interest in targets.items():
            if reason := self._add(target, interest, aiming.watched):
                reasons[target] = reason
        step()
        with self._lock:
            before, self._watched, self._aiming = self._watched, aiming.watched, None
            newly = frozenset(_new(before, self._watched))
            rung = frozenset(self._rung_by(aiming.stirs) - aiming.rung)
            for watch in before.keys() - self._watched.keys():
                self._inotify.remove(watch)
            self.unwatched = reasons
        return newly, rung

    def listen(self, timeout: float) -> Iterator[str | None]:
        """Waits, then yields the targets that events name, each once; None: events were lost."""
        self._inotify.wait(timeout)
        stirs = self._inotify.read()
        if any(stir.mask & inotify.Q_OVERFLOW for stir in stirs):
            yield None
        with self._lock:
            rung = self._rung_by(stirs)
            if self._aiming is not None:
                self._aiming.stirs |= dict.fromkeys(stirs)
                self._aiming.rung |= rung
        yield from rung

    def wake(self) -> None:
        """Ends a `listen` under way."""
        self._inotify.wake()

    def close(self) -> None:
        self._inotify.close()

    def _add(self, target: str, interest: Interest, every: dict[int, _Watched]) -> str | None:
        """Watches *target*, or its nearest ancestor until it appears; else says why not."""
        try:
            with reaching(target):
                for _ in range(_ATTEMPTS):
                    here, awaited = self._nearest(target, interest, every)
                    if not awaited or not _is_directory(os.path.join(here, awaited)):
                        break
        except OSError as error:
            return reason(error)
        except UnansweredError as error:
            return error.message
        return None

    def _nearest(
        self, target: str, interest: Interest, every: dict[int, _Watched]
    ) -> tuple[str, str]:
        """Watches the nearest directory there is; returns it and the name that is missing in it."""
        here, awaited = target, ""
        while True:
            wanted = Interest.ARRIVALS if awaited else interest
            try:
                watched = every.setdefault(self._inotify.add(here, wanted), _Watched())
            except OSError as error:
                if error.errno not in _NOT_THERE or here in {"/", ""}:
                    raise
                here, awaited = os.path.split(here)
                continue
            watched.mask |= wanted.of_all
            if wanted in (Interest.CONFIGURATION, Interest.EXPERIMENT):
                watched.configured.add(target)
            if awaited:
                watched.awaited[awaited].add(target)
            elif wanted.of_all:
                watched.targets.add(target)
            return here, awaited

    def _rung_by(self, stirs: Iterable[Stir]) -> set[str]:
        return {target for stir in stirs for target in self._rung(stir)}

    def _rung(self, stir: Stir) -> Iterable[str]:
        watched = self._watched.get(stir.watch)
        if watched is None:  # of a watch that was ended before its events were read
            return ()
        if stir.mask & _LOST:
            # The path may lead elsewhere now. A later aim finds out; the kernel's own end of the
            # watch (IGNORED) is no error to remove again.
            del self._watched[stir.watch]
            self._inotify.remove(stir.watch)
            return watched.rings
        rung = watched.configured if _is_configuration(stir.name) else set()
        if not stir.mask & watched.mask:  # asked for once, and no more
            return rung
        return rung | watched.targets | watched.awaited.get(stir.name, set())


def _new(before: Mapping[int, _Watched], watched: Mapping[int, _Watched]) -> Iterator[str]:
    """Targets whose watch is another than *before*, or sees more."""
    for watch, now in watched.items():
        then = before.get(watch, _Watched())
        yield from now.configured - then.configured
        yield from now.targets if now.mask & ~then.mask else now.targets - then.targets


def reason(error: OSError) -> str:
    """Why a directory cannot be watched, for people."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def _is_configuration(name: str) -> bool:
    return name.endswith(".toml") or name == "conf.d"


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
