"""What the benches share: starting ckptd, percentiles, and one way to print a ratio."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence


def ckptd(*words: object) -> list[str]:
    """The command line of ckptd in this interpreter."""
    return [sys.executable, "-m", "ckptd", *map(str, words)]


def percentile(values: Sequence[float], share: float) -> float:
    """The value at *share* (0 to 1) of the sorted *values*."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The median of the rounds' ratios, with the least and the greatest."""
    each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(each):.2f}x ({min(each):.2f} to {max(each):.2f})"
