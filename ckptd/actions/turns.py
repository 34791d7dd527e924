"""Whose turn it is: the actions of a plan in order, but those that are put off for a moment."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ckptd.model import Action


class Turns:
    """Hands out each of *actions* once, and again what was put off."""

    def __init__(self, actions: Iterable[Action]) -> None:
        self._left = list(reversed(list(actions)))  # the next one last
        self._put_off: list[tuple[float, Action]] = []

    def next(self) -> tuple[Action, bool] | None:
        """The next action, and whether it must be waited for: nothing else is left to do.

        What was put off comes before all others as soon as its time has come. None at the end.
        """
        if self._put_off:
            ready, action = min(self._put_off, key=lambda each: each[0])
            if ready <= time.monotonic() or not self._left:
                self._put_off.remove((ready, action))
                return action, not self._left
        return (self._left.pop(), False) if self._left else None

    def put_off(self, action: Action, seconds: float) -> None:
        """*action* is not begun for so many *seconds*, unless nothing else is left."""
        self._put_off.append((time.monotonic() + seconds, action))
