"""Who was seen to train in a run, and whether that process is still there.

A trainer that reads its output directory from a file names it nowhere, and has nothing open while
it gathers what it will write next: nobody could tell that it lives but one who has seen it write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ckptd import procs
from ckptd.model import Use

# Without a sign, a writer counts for so long: transformers' ddp_timeout, after which a collective
# operation that nobody answers ends the training.
_SILENT: Final = 1800.0
# And so many times `settle` one counts that nobody has seen: it wrote faster than we looked.
UNSEEN: Final = 12
# Between two questions who writes, in seconds.
_ASK_AGAIN: Final = 1.0


@dataclass(slots=True)
class _Known:
    """Of one run. Processes by pid: when they began, and when they were last seen to write."""

    named: dict[int, int] = field(default_factory=dict)
    writers: dict[int, tuple[int, float]] = field(default_factory=dict)
    asked: float | None = None
    met: bool = False


@dataclass(slots=True)
class Trainers:
    """What looks that asked who uses a run have learnt. Times are monotonic, in seconds."""

    known: dict[str, _Known] = field(default_factory=dict)
    began: Callable[[int], int | None] = procs.began

    def meet(self, run: str, uses: Iterable[Use], writers: Iterable[Use], now: float) -> None:
        """*uses* of the *run* at this moment, and those of its saves that are not complete."""
        known = self.known.setdefault(run, _Known())
        known.asked = now
        known.named = self._begun(use.pid for use in uses if use.how == "named")
        wrote = self._begun(use.pid for use in writers if use.how == "open" and use.pid)
        recent = {p: seen for p, seen in known.writers.items() if now - seen[1] < _SILENT}
        known.writers = recent | {pid: (began, now) for pid, began in wrote.items()}
        known.met = known.met or bool(known.named or wrote)

    def is_there(self, run: str, now: float) -> bool:
        """Whether one who names the *run*, or wrote there not long ago, is still there."""
        known = self.known.get(run, _Known())
        writers = {p: began for p, (began, wrote) in known.writers.items() if now - wrote < _SILENT}
        return any(self.began(pid) == began for pid, began in (known.named | writers).items())

    def was_met(self, run: str) -> bool:
        """Whether anybody was ever seen who names the *run* or writes there."""
        return self.known.get(run, _Known()).met

    def may_be_asked(self, run: str, now: float) -> bool:
        """Whether it is long enough since somebody asked who uses the *run*."""
        asked = self.known.get(run, _Known()).asked
        return asked is None or now - asked >= _ASK_AGAIN

    def _begun(self, pids: Iterable[int]) -> dict[int, int]:
        return {pid: began for pid in pids if (began := self.began(pid)) is not None}
