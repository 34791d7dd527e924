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
    """What in a directory rings. The value is the inotify mask."""

    ARRIVALS = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO
    WRITING = ARRIVALS | inotify.CLOSE_WRITE


@dataclass(slots=True)
class _Watched:
    """For whom one watch rings: the *targets* it was asked for, by what happens in it, and
    *awaited* ones further below that do not exist yet, by the name they need next.
    """

    mask: int = 0
    targets: set[str] = field(default_factory=set)
    awaited: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def rings(self) -> set[str]:
        return self.targets.union(*self.awaited.values())


class Aims:
    """The watched directories of one inotify descriptor, shared by who aims and who listens."""

    def __init__(self) -> None:
        """Raises OSError when there is no descriptor to be had."""
        self._inotify = Inotify()
        self._lock = threading.Lock()
        self._watched: dict[int, _Watched] = {}
        self.unwatched: Mapping[str, str] = {}

    def aim(self, targets: Mapping[str, Interest]) -> frozenset[str]:
        """Watches *targets* and nothing else. Returns those that were not watched so before.

        Each is added again each time: that is how a path that meanwhile leads to another
        directory is noticed, and it costs a few microseconds.
        """
        with self._lock:
            before, self._watched = self._watched, {}
            reasons = {}
            for target, interest in targets.items():
                if reason := self._add(target, interest):
                    reasons[target] = reason
            for watch in before.keys() - self._watched.keys():
                self._inotify.remove(watch)
            self.unwatched = reasons
            return frozenset(self._new(before))

    def listen(self, timeout: float) -> Iterator[str | None]:
        """Waits, then yields the targets that events name, each once; None: events were lost."""
        self._inotify.wait(timeout)
        stirs = self._inotify.read()
        if any(stir.mask & inotify.Q_OVERFLOW for stir in stirs):
            yield None
        with self._lock:
            rung = {target for stir in stirs for target in self._rung(stir)}
        yield from rung

    def wake(self) -> None:
        """Ends a `listen` under way."""
        self._inotify.wake()

    def close(self) -> None:
        self._inotify.close()

    def _add(self, target: str, interest: Interest) -> str | None:
        """Watches *target*, or its nearest ancestor until it appears; else says why not."""
        for _ in range(_ATTEMPTS):
            try:
                here, awaited = self._nearest(target, interest)
            except OSError as error:
                return reason(error)
            if not awaited or not _is_directory(os.path.join(here, awaited)):
                return None
        return None

    def _nearest(self, target: str, interest: Interest) -> tuple[str, str]:
        """Watches the nearest directory there is; returns it and the name that is missing in it."""
        here, awaited = target, ""
        while True:
            mask = int(Interest.ARRIVALS if awaited else interest)
            try:
                watched = self._watched.setdefault(self._inotify.add(here, mask), _Watched())
            except OSError as error:
                if error.errno not in _NOT_THERE or here in {"/", ""}:
                    raise
                here, awaited = os.path.split(here)
                continue
            watched.mask |= mask
            (watched.awaited[awaited] if awaited else watched.targets).add(target)
            return here, awaited

    def _new(self, before: Mapping[int, _Watched]) -> Iterator[str]:
        """Targets whose watch is another than *before*, or sees more."""
        for watch, now in self._watched.items():
            then = before.get(watch, _Watched())
            yield from now.targets if now.mask & ~then.mask else now.targets - then.targets

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
        if not stir.mask & watched.mask:  # asked for once, and no more
            return ()
        return watched.targets | watched.awaited.get(stir.name, set())


def reason(error: OSError) -> str:
    """Why a directory cannot be watched, for people."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
