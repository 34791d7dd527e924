"""One line on standard error for who waits longer than two seconds; erased at the end."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ckptd.units import show_duration, show_text

PATIENCE: Final = 2.0
REDRAWN: Final = 0.25  # seconds between two changes of the line
ERASE: Final = "\r\x1b[K"


class Progress:
    """What a command is at. Nothing is written unless standard error is a terminal."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._next = self._begun + PATIENCE if sys.stderr.isatty() else float("inf")
        self._shown = False

    def step(self, text: str) -> None:
        """Says that *text* is being done. Costs next to nothing, however often it is called."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + REDRAWN
        line = f"ckptd: {show_text(text)}, {show_duration(int(now - self._begun))}"
        self._write(f"{ERASE}{line[: shutil.get_terminal_size().columns - 1]}")
        self._shown = True

    def close(self) -> None:
        """Takes the line away; no later step brings it back."""
        if self._shown:
            self._write(ERASE)
        self._next = float("inf")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def progress() -> Iterator[Progress]:
    """Shows what its `step` says, from two seconds after now until the end of the block."""
    shown = Progress()
    try:
        yield shown
    finally:
        shown.close()
