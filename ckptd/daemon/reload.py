"""The configuration while ckptd runs: a change is obeyed, a broken one leaves the old in force."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from ckptd.config import Configuration, Settings
from ckptd.errors import ConfigError, UnansweredError
from ckptd.ledger import Record
from ckptd.mounts import asked
from ckptd.notice import fact
from ckptd.render.wording import counted
from ckptd.units import show_text

# Whoever writes a file in place empties it first; half of a configuration is not what they mean.
SETTLES: Final = 0.3
_KEPT: Final = "the configuration before it stays in force"
_NO_WATCH: Final = "no [[watch]] is left, so nothing would be watched"


@dataclass(slots=True)
class Reload:
    """Reads the configuration again when its files change, or when asked."""

    configuration: Configuration
    _asked: threading.Event = field(default_factory=threading.Event)
    _since: float | None = None

    @property
    def directories(self) -> tuple[str, ...]:
        """Where a change would appear; nowhere while nobody answers there."""
        with suppress(UnansweredError):
            return asked(self.configuration.file, self.configuration.directories)
        return ()

    def ask(self) -> None:
        """From any thread: read it at the next chance, changed or not."""
        self._asked.set()

    @property
    def noticed(self) -> bool:
        """Whether somebody wants another configuration than the one in force. Cheap."""
        return self._asked.is_set() or self._has_changed()

    def due(self) -> bool:
        """Whether it is to be read now."""
        if self._asked.is_set():
            return True
        if not self._has_changed():
            self._since = None
            return False
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return now - self._since >= SETTLES

    def take(self) -> tuple[Settings | None, tuple[Record, ...]]:
        """What is in force from now on (None: what was before), and what there is to tell."""
        self._asked.clear()
        self._since = None
        try:
            settings = asked(self.configuration.file, self.configuration.reload)
        except ConfigError as error:
            return None, tuple(_broken(error))
        except UnansweredError as error:
            return None, (replace(fact("config", "", f"{error}; {_KEPT}"), outcome="failed"),)
        if not settings.watches:
            told = fact("config", _last(settings), f"{_NO_WATCH}; {_KEPT}")
            return None, (replace(told, outcome="failed"),)
        return settings, (fact("config", _last(settings), _in_force(settings)),)

    def _has_changed(self) -> bool:
        """Not while nobody answers where it lies (a home directory on a server)."""
        with suppress(UnansweredError):
            return asked(self.configuration.file, self.configuration.changed)
        return False


def _broken(error: ConfigError) -> Iterator[Record]:
    for problem in error.problems:
        told = fact("config", "", f"{problem}; {_KEPT}")
        yield replace(told, outcome="failed")


def _last(settings: Settings) -> str:
    return next((name for name in reversed(settings.source) if os.path.isabs(name)), "")


def _in_force(settings: Settings) -> str:
    shown = ", ".join(show_text(watch.path) for watch in settings.watches[:5])
    more = ", ..." if len(settings.watches) > 5 else ""
    count = counted(len(settings.watches), "watch")
    return f"read again and in force: mode {settings.mode}, {count} ({shown}{more})"
