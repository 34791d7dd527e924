"""What a rule is, and how rules speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ckptd.model import Reason, Run, Series

Reasons = Mapping[str, Reason]


class Rule(Protocol):
    """A frozen value; `name` is its key in the TOML."""

    @property
    def name(self) -> str: ...

    def judge(self, complete: Series, run: Run) -> Reasons:
        """A reason for each checkpoint of *complete*, by its name."""


def positive(name: str, count: int | None) -> None:
    """Raises ValueError unless *count* is at least 1, or None for unlimited."""
    if count is not None and count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")


def place(rank: int) -> str:
    """`` for the first, `2nd `, `3rd `, `4th ` ... in front of a superlative."""
    if rank == 1:
        return ""
    teens = 10 <= rank % 100 <= 20
    suffix = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{suffix} "
