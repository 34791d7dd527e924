"""How large the saves of a run are and how often they come, from those that were seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, takewhile
from statistics import median_low
from typing import Final

from ckptd.model import Saved

# The last gaps tell; older ones may be of another batch size or another machine.
GAPS: Final = 10
# Saves of one training differ by a few bytes of state; LoRA and full weights by far more.
ALIKE: Final = 0.1
NEWEST: Final = 3


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What the next saves are expected to be like.

    `bytes` is the largest of the newest ones that are alike, or that come between smaller ones;
    `bytes_before` what the saves took before their size changed. `seconds` and `steps` lie between
    two saves; None where fewer than two saves, or no steps, are known.
    """

    count: int
    last_at: float
    bytes: int
    bytes_before: int | None = None
    seconds: float | None = None
    steps: int | None = None
    seconds_per_step: float | None = None

    @property
    def bytes_per_hour(self) -> float:
        """0 where no rhythm is known."""
        return self.bytes / self.seconds * 3600 if self.seconds else 0.0


def rhythm(saves: Sequence[Saved]) -> Rhythm | None:
    """The rhythm of *saves*, oldest first; None when there are none."""
    if not saves:
        return None
    newest = saves[-1]
    low, high = newest.bytes * (1 - ALIKE), newest.bytes / (1 - ALIKE)
    sizes = [save.bytes for save in reversed(saves)]
    before = next((size for size in sizes if not low <= size <= high), None)
    alike = takewhile(lambda size: low <= size <= high, sizes[:NEWEST])
    returning = _returning(sizes[: GAPS + 1], high)
    rising = (gap for gap in pairwise(reversed(saves)) if gap[1].saved_at < gap[0].saved_at)
    gaps = [(one, following) for following, one in islice(rising, GAPS)]
    steps = [step for gap in gaps if (step := _steps(*gap))]
    paces = [_seconds(*gap) / step for gap in gaps if (step := _steps(*gap))]
    # The lower median: what the trainer rotated away between two saves makes gaps wider.
    return Rhythm(
        count=len(saves),
        last_at=newest.saved_at,
        bytes=max([*alike, *returning]),
        bytes_before=None if returning else before,
        seconds=median_low([_seconds(*gap) for gap in gaps]) if gaps else None,
        steps=median_low(steps) if steps else None,
        seconds_per_step=median_low(paces) if paces else None,
    )


def _returning(sizes: Sequence[int], high: float) -> list[int]:
    """Those of *sizes*, newest first, that are larger than *high* and came between smaller ones.

    Some trainings write the optimizer only now and then, or link what did not change.
    """
    oldest_small = max(at for at, size in enumerate(sizes) if size <= high)
    return [size for size in sizes[:oldest_small] if size > high]


def _seconds(one: Saved, following: Saved) -> float:
    return following.saved_at - one.saved_at


def _steps(one: Saved, following: Saved) -> int:
    """Steps between two saves; 0 where they are not known, or began anew."""
    if one.step is None or following.step is None:
        return 0
    return max(0, following.step - one.step)
