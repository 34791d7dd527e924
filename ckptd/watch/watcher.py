"""An observer and an emitter of our own, on what watchdog documents (watchdog.observers.api)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any, Final

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver, EventEmitter, EventQueue, ObservedWatch

from ckptd.watch.aims import Aims, Interest, reason
from ckptd.watch.bell import Bell

# Seconds. A stop wakes the emitter, so nothing is gained by looking up more often.
_LISTEN: Final = 60.0
_AFTER_FAILURE: Final = 1.0
_TO_END: Final = 1.0
_ENDED: Final = "the thread that listens has ended"


class Watcher:
    """Rings *bell* with the path of every watched directory in which something happens."""

    def __init__(self, bell: Bell) -> None:
        self._ringer = _Ringer(bell)
        self._aims: Aims | None = None
        self._observer: BaseObserver | None = None
        self._unwatched: Mapping[str, str] = {}
        self._refused = "not started"

    def start(self) -> None:
        """Starts listening. Where there is no inotify to be had, every aim is `unwatched`."""
        try:
            self._aims = Aims()
        except OSError as error:
            self._refused = reason(error)
            return
        self._observer = BaseObserver(_Emitter, timeout=_LISTEN, aims=self._aims)
        self._observer.schedule(self._ringer, "/")  # one emitter for all; its path says nothing
        self._observer.start()

    def stop(self) -> None:
        """Ends both threads and closes the descriptors; promptly, and more than once if need be."""
        observer, aims = self._observer, self._aims
        self._observer = self._aims = None
        self._refused = "stopped"
        if observer is not None and aims is not None:
            observer.stop()
            observer.join(_TO_END)
            aims.close()

    @property
    def alive(self) -> bool:
        """Whether events still reach the bell: the observer's thread and its emitter's."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and any(emitter.is_alive() for emitter in observer.emitters)
        )

    @property
    def ended(self) -> bool:
        """Whether events once reached the bell and do no more, though nobody called `stop`."""
        return self._observer is not None and not self.alive

    @property
    def unwatched(self) -> Mapping[str, str]:
        """Targets of the last `aim` that raise no events, and why: look at them by the clock."""
        return self._unwatched

    @property
    def last_error(self) -> Exception | None:
        """The last failure that ringing met; it stopped nothing."""
        return self._ringer.last_error

    def aim(self, targets: Mapping[str, Interest]) -> frozenset[str]:
        """Watches the directories *targets* (absolute real paths) and no others.

        Returns those newly watched: scan them again, for what came before the watch. One that
        does not exist yet rings when it, or the next directory towards it, appears; one that
        goes away rings, and is found again by a later `aim`. Never raises for what a path is.
        """
        if self._aims is None or not self.alive:
            self._unwatched = dict.fromkeys(targets, self._refused if not self._aims else _ENDED)
            return frozenset()
        newly, rung = self._aims.aim(targets)
        self._unwatched = self._aims.unwatched
        for path in rung - newly:
            self._ringer.ring(path)
        return newly


class _Rang(FileSystemEvent):
    """Something happened in the watched directory `src_path`."""

    event_type = "rang"


class _Overflowed(FileSystemEvent):
    """The kernel dropped events: nobody knows where."""

    event_type = "overflowed"


class _Ringer(FileSystemEventHandler):
    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self.last_error: Exception | None = None

    def dispatch(self, event: FileSystemEvent) -> None:
        try:
            super().dispatch(event)
        except Exception as error:  # noqa: BLE001  whatever it is, it would end the observer's thread
            self.last_error = error

    def ring(self, path: str) -> None:
        """Of what happened in *path* before anybody knew that it is watched."""
        self._bell.ring(path)

    def on_rang(self, event: FileSystemEvent) -> None:
        self._bell.ring(str(event.src_path))

    def on_overflowed(self, _: FileSystemEvent) -> None:
        self._bell.ring_all()


class _Emitter(EventEmitter):
    """Listens to all watched directories in one thread."""

    def __init__(
        self, event_queue: EventQueue, watch: ObservedWatch, *, aims: Aims, **options: Any
    ) -> None:
        super().__init__(event_queue, watch, **options)
        self._aims = aims

    def on_thread_stop(self) -> None:
        self._aims.wake()

    def queue_events(self, timeout: float) -> None:
        try:
            for path in self._aims.listen(timeout):
                self.queue_event(_Overflowed("/") if path is None else _Rang(path))
        except OSError as error:
            if error.errno == errno.EBADF:  # closed under us: nothing will ever come again
                self.stopped_event.set()
                return
            self.queue_event(_Overflowed("/"))
            self.stopped_event.wait(_AFTER_FAILURE)
