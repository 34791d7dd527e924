"""The newest of each hour, day, week, month, year."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from ckptd.model import Reason, Run, Series
from ckptd.policy.rules.base import Reasons, positive
from ckptd.policy.rules.calendar import local

Period = Literal["hourly", "daily", "weekly", "monthly", "yearly"]


def _week(wall: datetime) -> str:
    year, week, _ = wall.isocalendar()
    return f"{year:04}-W{week:02}"


_PERIOD_OF: Final[Mapping[Period, Callable[[datetime], str]]] = {
    "hourly": lambda wall: f"{wall.isoformat(' ')[:13]}:00",
    "daily": lambda wall: wall.isoformat()[:10],
    "weekly": _week,
    "monthly": lambda wall: wall.isoformat()[:7],
    "yearly": lambda wall: wall.isoformat()[:4],
}


@dataclass(frozen=True, slots=True)
class KeepPeriods:
    """Keeps the newest of each period, of the newest *count* periods that have any; None: of all.

    While slots are left it keeps the oldest checkpoint too, so that history reaches back as far
    as it can. Periods are those of local time, weeks those of ISO 8601. The hour that comes twice
    when daylight time ends is one.
    """

    period: Period
    count: int | None

    def __post_init__(self) -> None:
        positive(self.name, self.count)

    @property
    def name(self) -> str:
        return f"keep_{self.period}"

    def judge(self, complete: Series, run: Run) -> Reasons:
        del run
        period_of = _PERIOD_OF[self.period]
        reasons: dict[str, Reason] = {}
        rank, later = 0, ""
        for c in reversed(complete):
            period = period_of(local(c.saved_at))
            if period != later:
                rank += 1
                reasons[c.name] = self._newest(rank, period)
            elif c is complete[0] and self._has_slot(rank + 1):
                reasons[c.name] = self._reason(rank + 1, "oldest, and slots are left")
            else:
                text = f"not the newest of {period}; {self._limit}"
                reasons[c.name] = Reason(self.name, False, text, limit=self.count)
            later = period
        return reasons

    def _has_slot(self, rank: int) -> bool:
        return self.count is None or rank <= self.count

    def _newest(self, rank: int, period: str) -> Reason:
        return self._reason(rank, f"newest of {period}")

    def _reason(self, rank: int, what: str) -> Reason:
        keeps = self._has_slot(rank)
        of = f" of {self.count}" if keeps and self.count is not None else ""
        text = f"{self.period} {rank}{of}: {what}; {self._limit}"
        return Reason(self.name, keeps, text, rank, self.count)

    @property
    def _limit(self) -> str:
        return f"{self.name} is {'unlimited' if self.count is None else self.count}"
