"""The bell: any thread rings it, one waits for it."""

from __future__ import annotations

from enum import Enum
from queue import Empty, SimpleQueue
from typing import Final, Literal


class _All(Enum):
    ALL = "all"


ALL: Final = _All.ALL
Rung = frozenset[str] | Literal[_All.ALL]


class Bell:
    """Names directories to look at again, each once however often it rang.

    Threads and signal handlers may ring it: SimpleQueue is the one queue that may be put into
    while the same thread is inside its `get`.
    """

    def __init__(self) -> None:
        self._rung: SimpleQueue[str | Literal[_All.ALL]] = SimpleQueue()
        self._pending: set[str | Literal[_All.ALL]] = set()

    def ring(self, path: str) -> None:
        """Asks for another look at the directory *path*."""
        self._ring(path)

    def ring_all(self) -> None:
        """Asks for another look at everything."""
        self._ring(ALL)

    def wait(self, timeout: float | None) -> Rung:
        """The directories that rang, or ALL; empty after *timeout* seconds of silence.

        Cleared before it returns: what happens during the look rings again.
        """
        try:
            rung = {self._rung.get(timeout=None if timeout is None else max(0.0, timeout))}
        except Empty:
            return frozenset()
        while not self._rung.empty():
            rung.add(self._rung.get())
        # Last: a name that is pending though no longer in the queue would never ring again.
        self._pending.clear()
        return ALL if ALL in rung else frozenset(path for path in rung if path is not ALL)

    def _ring(self, what: str | Literal[_All.ALL]) -> None:
        if what not in self._pending:
            self._pending.add(what)
            self._rung.put(what)
