"""The newest so many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ckptd.model import Reason, Run, Series
from ckptd.policy.rules.base import Reasons, place, positive


@dataclass(frozen=True, slots=True)
class KeepLast:
    """Keeps the newest *count* complete checkpoints; None keeps all."""

    count: int | None

    name = "keep_last"

    def __post_init__(self) -> None:
        positive(self.name, self.count)

    def judge(self, complete: Series, run: Run) -> Reasons:
        del run
        ranked = enumerate(reversed(complete), start=1)
        return {c.name: _reason(self.count, rank) for rank, c in ranked}


@lru_cache(maxsize=2**14)
def _reason(count: int | None, rank: int) -> Reason:
    """The same for the checkpoints of every run, so that a thousand runs share them."""
    if count is None:
        return Reason(KeepLast.name, True, f"{place(rank)}newest; keep_last is unlimited", rank)
    text = f"{place(rank)}newest; keep_last is {count}"
    return Reason(KeepLast.name, rank <= count, text, rank, count)
