"""What systemd hears of us: ready, status, alive, reloading, stopping. The door to sdnotify.

Without systemd every call does nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final

import sdnotify

_OURS: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_MICROSECONDS: Final = 1_000_000
# A look at thousands of runs, and an act under way, may take longer than systemd would wait.
_EXTENSION: Final = 30.0


class Service:
    """One service's voice. `interval` is how often `alive` must be called, in seconds, or None.
    `is_ready`: systemd was told so.

    Takes what systemd set out of *environ*, so that no child speaks in our name.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        if self._notifier.socket is not None:
            self._notifier.socket.setblocking(False)  # a manager that hangs must not hang us
        self.interval = _interval(environ)
        for name in _OURS:
            environ.pop(name, None)
        self._status = ""
        self._alive_at = time.monotonic()
        self.is_ready = False

    def ready(self) -> None:
        """The first look is taken, or a reload is over."""
        self.is_ready = True
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        moment = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={moment}")

    def stopping(self) -> None:
        """The end has begun; what is under way may still take a moment."""
        self._send("STOPPING=1")
        self._extend()

    def status(self, sentence: str) -> None:
        """What `systemctl status` shows; sent when it changes."""
        line = " ".join(sentence.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Loop, observer and emitter are alive. As often as it is called, little is sent."""
        now = time.monotonic()
        if now - self._alive_at < (self.interval or _EXTENSION / 3):
            return
        self._alive_at = now
        if self.interval:
            self._send("WATCHDOG=1")
        if not self.is_ready:
            self._extend()

    def _extend(self) -> None:
        self._send(f"EXTEND_TIMEOUT_USEC={int(_EXTENSION * _MICROSECONDS)}")

    def _send(self, state: str) -> None:
        # The library's own `notify` encodes Latin-1 and drops what that cannot say, such as 检查点.
        if self._notifier.socket is not None:
            with suppress(OSError):
                self._notifier.socket.send(state.encode("utf-8", "replace"))


def _interval(environ: MutableMapping[str, str]) -> float | None:
    """Half of the time within which systemd wants to hear from this process."""
    given, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not given.isdecimal() or int(given) == 0 or whose not in ("", str(os.getpid())):
        return None
    return int(given) / _MICROSECONDS / 2
