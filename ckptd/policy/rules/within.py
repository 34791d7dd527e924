"""All of the last so many hours, days, months."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.model import Reason, Run, Series
from ckptd.policy.rules.base import Reasons
from ckptd.policy.rules.calendar import before
from ckptd.units import Span


@dataclass(frozen=True, slots=True)
class KeepWithin:
    """Keeps what was saved less than *span* before the newest checkpoint.

    That one is the reference and not the clock: a run that stopped does not decay.
    """

    span: Span

    name = "keep_within"

    def __post_init__(self) -> None:
        if not self.span:
            raise ValueError(f"{self.name} must be longer than {self.span}")

    def judge(self, complete: Series, run: Run) -> Reasons:
        del run
        bound = before(complete[-1].saved_at, self.span) if complete else None
        return {
            c.name: self._reason(rank, keeps=bound is None or c.saved_at > bound)
            for rank, c in enumerate(reversed(complete), start=1)
        }

    def _reason(self, rank: int, *, keeps: bool) -> Reason:
        where = f"within {self.span} of" if keeps else f"{self.span} or more before"
        return Reason(self.name, keeps, f"{where} the newest; {self.name} is {self.span}", rank)
