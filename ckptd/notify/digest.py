"""What one receiver is to be told, and when: a burst becomes one message. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

# What comes within so many seconds after the first is told together with it.
GATHER: Final = 1.0
# Between two messages, whatever they are about.
BETWEEN: Final = 30.0
# Sentences in one message, and subjects that are told apart; what is more is counted.
MOST_LINES: Final = 20
MOST_SUBJECTS: Final = 500

_MARKUP: Final = re.compile(r"[<>]|(?<=\])\(|@(?=everyone|here|all|channel|group)", re.IGNORECASE)

Subject = tuple[str, str]
"""The kind of an event, and what it is about."""


@dataclass(frozen=True, slots=True)
class _Held:
    """The last sentence on a subject, and how many came; since when, by the monotonic clock."""

    sentence: str
    count: int
    since: float


@dataclass(slots=True)
class Digest:
    """Holds back what comes too soon after a message on the same subject, and counts it.

    Times are of the monotonic clock, in seconds; `every` is for how long one is enough.
    """

    every: float
    between: float = BETWEEN
    _held: dict[Subject, _Held] = field(default_factory=dict)
    _told: dict[Subject, float] = field(default_factory=dict)
    _last: float = -inf

    def hear(self, subject: Subject, sentence: str, now: float) -> None:
        """Something happened; of what happens again and again the last is told."""
        if subject not in self._held and len(self._held) >= MOST_SUBJECTS:
            subject = (subject[0], "")
        before = self._held.get(subject, _Held("", 0, now))
        self._held[subject] = replace(before, sentence=sentence, count=before.count + 1)

    def due(self) -> float:
        """From when on `take` has something; infinite when there is nothing to tell."""
        first = min(map(self._due, self._held), default=inf)
        return max(first, self._last + self.between)

    def _due(self, subject: Subject) -> float:
        told = self._told.get(subject, -inf)
        return max(self._held[subject].since + GATHER, told + self.every)

    def take(self, now: float) -> tuple[str, ...]:
        """The kinds and lines of one message: `(title, line, ...)`; empty when none is due."""
        if not self._held or self.due() > now:
            return ()
        # What is due soon goes with what is due now.
        taken = [subject for subject in self._held if self._due(subject) <= now + GATHER]
        lines = [_line(self._held.pop(subject)) for subject in taken]
        self._told = {s: at for s, at in self._told.items() if at + self.every > now}
        self._told |= dict.fromkeys(taken, now)
        self._last = now
        return (", ".join(dict.fromkeys(kind for kind, _ in taken)), *_first(lines))


def inert(text: str) -> str:
    """*text* without what a chat would take for a tag, a link or a call to everyone.

    Mail escapes markup; some chats that take plain text look for these in it all the same.
    """
    return _MARKUP.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _line(held: _Held) -> str:
    more = f" (and {held.count - 1} more)" if held.count > 1 else ""
    return f"{held.sentence}{more}"


def _first(lines: list[str]) -> list[str]:
    if len(lines) <= MOST_LINES:
        return lines
    more = f"and {len(lines) - MOST_LINES} more, which ckptd history has"
    return [*lines[:MOST_LINES], more]
