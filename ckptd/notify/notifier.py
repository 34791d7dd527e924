"""Tells each receiver what happened: one thread for each, so that none waits for another."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Final

from ckptd.audit import sentence
from ckptd.config import Notify
from ckptd.ledger import Record
from ckptd.notice import fact
from ckptd.notify.digest import Digest, inert
from ckptd.notify.receivers import receivers
from ckptd.notify.sending import Send
from ckptd.units import show_text

# After a try that failed so many seconds pass before the next; after the last one it is dropped.
PAUSES: Final = (2.0, 15.0)
# How long the end waits for messages that are under way.
LAST_TRY: Final = 0.3
_KEPT: Final = "the journal has what it would have been told"


class Notifier:
    """Tells whom *notify* names. Nothing here raises or waits but `close`, for a moment."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._troubles: deque[Record] = deque(maxlen=100)
        self._alone = threading.Lock()
        self._early: deque[Record] = deque(maxlen=200)  # heard before there were receivers
        self._receivers: list[_Receiver] | None = None
        self._ended = False
        # apprise takes a while to import, and nobody is to wait for it.
        self._opening = threading.Thread(target=self._open, name="ckptd-notify", daemon=True)
        self._opening.start()

    def _open(self) -> None:
        found, problems = receivers(self._notify)
        for problem in problems:
            told = fact("notify", "", str(problem))
            self._troubles.append(replace(told, outcome="failed"))
        with self._alone:
            if self._ended:
                return
            every = self._notify.at_most_every
            self._receivers = [
                _Receiver(name, send, every, self._troubles) for name, send in found.items()
            ]
            for record in self._early:
                self._tell(self._receivers, record)

    def hear(self, record: Record) -> None:
        """Tells of *record* soon, if it is of a kind that is asked for."""
        if record.event not in self._notify.events:
            return
        with self._alone:
            if self._receivers is None:
                self._early.append(record)
            else:
                self._tell(self._receivers, record)

    def _tell(self, to: Sequence[_Receiver], record: Record) -> None:
        told = inert(show_text(sentence(record)))
        subject = (record.event, record.run or record.checkpoint)
        for receiver in to:
            receiver.hear(subject, told)

    def records(self) -> Iterator[Record]:
        """What there is to say of receivers since this was asked last."""
        while self._troubles:
            yield self._troubles.popleft()

    def end(self) -> None:
        """Asks it to end, once it has sent what is left."""
        with self._alone:
            self._ended = True
        for receiver in self._receivers or ():
            receiver.end()

    def close(self, patience: float = 0.0) -> None:
        """Ends it. What is left is sent if that takes no time, or no longer than *patience*."""
        until = time.monotonic() + max(LAST_TRY, patience)
        self._opening.join(until - time.monotonic())
        self.end()
        for receiver in self._receivers or ():
            receiver.thread.join(max(0.0, until - time.monotonic()))


class _Receiver:
    """One URL. Its `thread` is a daemon: what hangs in it does not hold up the end."""

    def __init__(self, name: str, send: Send, every: float, troubles: deque[Record]) -> None:
        self._name = name
        self._send = send
        self._troubles = troubles
        self._digest = Digest(every)
        self._bell = threading.Condition()
        self._ending = threading.Event()
        self._lost = False  # the last message, and it was said
        self.thread = threading.Thread(target=self._run, name="ckptd-notify", daemon=True)
        self.thread.start()

    def hear(self, subject: tuple[str, str], told: str) -> None:
        with self._bell:
            self._digest.hear(subject, told, time.monotonic())
            self._bell.notify()

    def end(self) -> None:
        self._ending.set()
        with self._bell:
            self._bell.notify()

    def _run(self) -> None:
        while message := self._next():
            title, *lines = message
            self._tell(f"ckptd on {show_text(socket.gethostname())}: {title}", "\n".join(lines))

    def _next(self) -> tuple[str, ...]:
        """Waits for a message that is due; at the end what is left, or nothing."""
        with self._bell:
            while not self._ending.is_set():
                wait = self._digest.due() - time.monotonic()
                if wait <= 0:
                    return self._digest.take(time.monotonic())
                self._bell.wait(None if wait == inf else wait)
            return self._digest.take(inf)

    def _tell(self, title: str, text: str) -> None:
        why, tries = self._send(title, text), "1 try"
        for count, pause in enumerate(PAUSES, start=2):
            if why is None or self._ending.wait(pause):
                break
            why, tries = self._send(title, text), f"{count} tries"
        if why is None and self._lost:
            self._say("done", "it takes messages again")
        elif why is not None and not self._lost:
            self._say("failed", f"a message was dropped after {tries}: {why}; {_KEPT}")
        self._lost = why is not None

    def _say(self, outcome: str, text: str) -> None:
        told = fact("notify", "", f"{self._name}: {text}")
        self._troubles.append(replace(told, outcome=outcome))
