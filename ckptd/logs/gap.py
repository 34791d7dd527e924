"""What a journal that was away left behind it, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ckptd.render.wording import counted
from ckptd.units import show_duration

# A journal that did not keep up for less than so many seconds was not away.
HICCUP: Final = 1.0


@dataclass(slots=True)
class Gap:
    """For `seconds` nobody took anything; so many were told `late`.

    What a closed socket had taken and the journal lacks, `lost` (ids), was told again; of so many
    it is `unknown` whether the journal has them, and `why`.
    """

    seconds: float = 0.0
    late: int = 0
    lost: set[str] = field(default_factory=set)
    unknown: int = 0
    why: str = ""

    def text(self) -> str:
        """What there is to say about it; empty for nothing."""
        return "; ".join(self._facts())

    def _facts(self) -> Iterator[str]:
        if self.seconds >= HICCUP:
            yield f"nobody took what ckptd tells for {show_duration(self.seconds)}"
            yield f"{self.late} records waited in the ledger and have been told now"
        if self.lost:
            lost = counted(len(self.lost), "record")
            yield f"the journal was stopped and lost {lost} it had taken, told again now"
        if self.unknown:
            before = counted(self.unknown, "record")
            yield f"the journal was stopped; what it has of {before} told before is not known"
            yield f"{self.why}; ckptd history has all"
