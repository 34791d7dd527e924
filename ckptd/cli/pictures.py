"""Curves as a picture in characters: the door to plotext."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from ckptd.units import show_bytes

SIGNS: Final = ("x", "o", "#")
HEIGHT: Final = 18
NARROWEST: Final = 40
WIDEST: Final = 120
PARTS: Final = 4  # of each axis
# For terminals that know no lines.
_PLAIN: Final = str.maketrans("\u250c\u2510\u2514\u2518\u2500\u2502\u2524\u252c\u2534", "++++-|+++")

Points = Sequence[tuple[float, int]]  # seconds, bytes


def picture(curves: Mapping[str, Points], *, most: int, hours: float, width: int) -> str:
    """*curves* by their names from 0 to *most* bytes over *hours*; the last one lies on top."""
    import plotext  # takes 50 ms

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plotsize(min(max(width, NARROWEST), WIDEST) - 1, HEIGHT)
    for sign, points in zip(SIGNS, curves.values(), strict=False):
        plotext.plot([at / 3600 for at, _ in points], [used for _, used in points], marker=sign)
    parts = range(PARTS + 1)
    plotext.ylim(0, max(most, 1))
    plotext.xlim(0, hours)
    plotext.yticks(
        [most * n / PARTS for n in parts], [show_bytes(most * n // PARTS) for n in parts]
    )
    plotext.xticks([hours * n / PARTS for n in parts], [f"{hours * n / PARTS:g} h" for n in parts])
    drawn = [line.rstrip() for line in plotext.uncolorize(plotext.build()).splitlines()]
    legend = "   ".join(f"{sign} {name}" for sign, name in zip(SIGNS, curves, strict=False))
    return _for_the_terminal("\n".join([*drawn, f"  {legend}"]))


def _for_the_terminal(text: str) -> str:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return text.translate(_PLAIN)
    return text
