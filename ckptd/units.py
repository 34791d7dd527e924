"""Sizes in bytes, durations in seconds, shares in percent: read and written for people.

Nothing here depends on a locale. A bare `m` is refused: restic reads it as a month, systemd
as a minute.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final

BINARY: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
DECIMAL: Final = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
SIZE_UNITS: Final = BINARY | DECIMAL
DAY: Final = 86_400
DURATION_UNITS: Final = {
    "ms": 0.001,
    "s": 1,
    "min": 60,
    "h": 3_600,
    "d": DAY,
    "w": 7 * DAY,
    "month": 31 * DAY,
    "y": 366 * DAY,
}
_NUMBER: Final = r"(?P<number>\d{1,15}(?:\.\d{1,9})?)"
_AMOUNT: Final = re.compile(rf"\s*{_NUMBER}\s*(?P<unit>[A-Za-z%]*)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole in percent, 0 to 100."""

    percent: float

    def of(self, whole: int) -> int:
        """Bytes (or inodes) that this share of *whole* is, rounded down."""
        return int(whole * self.percent / 100)

    def __str__(self) -> str:
        return f"{self.percent:g}%"


def parse_bytes(text: str) -> int:
    """Bytes that a text such as `200GiB`, `1.5TB` or `512B` means.

    Raises ValueError with one sentence when it means none.
    """
    number, unit = _split(text, SIZE_UNITS, "a size such as 200GiB or 1.5TB")
    return int(number * SIZE_UNITS[unit])


LONGEST: Final = 1000 * DURATION_UNITS["y"]


def parse_duration(text: str) -> float:
    """Seconds that a text such as `90s`, `10min`, `6h`, `7d` or `1month` means.

    Raises ValueError with one sentence when it means none; a bare `m` is refused.
    """
    if re.fullmatch(rf"\s*{_NUMBER}\s*m\s*", text, re.ASCII):
        raise ValueError(f"{text!r} could be minutes or months; write min or month")
    number, unit = _split(text, DURATION_UNITS, "a duration such as 90s, 10min, 6h or 7d")
    if number * DURATION_UNITS[unit] > LONGEST:
        raise ValueError(f"{text!r} is longer than 1000 years, which no clock can count from now")
    return number * DURATION_UNITS[unit]


@dataclass(frozen=True, slots=True)
class Span:
    """A time on the calendar: its months and days are as long as where they are counted."""

    months: int = 0
    days: int = 0
    seconds: float = 0.0

    @property
    def about(self) -> float:
        """Seconds, near enough to tell which of two is longer."""
        return self.months * _MONTH + self.days * DAY + self.seconds

    def __bool__(self) -> bool:
        return self.about > 0

    def __str__(self) -> str:
        """As `parse_span` reads it: `1y2month3d3h`, `6h`, `0s`."""
        years, months = divmod(self.months, 12)
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(int(minutes), 60)
        rest = f"{seconds:.9f}".rstrip("0").rstrip(".")
        parts = {"y": years, "month": months, "d": self.days, "h": hours, "min": minutes}
        shown = [f"{number}{unit}" for unit, number in parts.items() if number]
        return "".join(shown + [f"{rest}s"] * (rest != "0" or not shown))


_MONTH: Final = 365.2425 * DAY / 12
# In months and days.
CALENDAR_UNITS: Final = {"d": (0, 1), "w": (0, 7), "month": (1, 0), "y": (12, 0)}
_PIECE: Final = re.compile(rf"\s*{_NUMBER}\s*(?P<unit>[A-Za-z]+)\s*", re.ASCII)


def parse_span(text: str) -> Span:
    """The span that a text such as `6h`, `7d` or `1y2month3d3h` means.

    Raises ValueError with one sentence when it means none; a bare `m` is refused, and so is a
    part of a day or of what is longer: how long that is nobody knows.
    """
    wanted = "a span such as 6h, 7d or 1y2month"
    span, at, found = Span(), 0, set[str]()
    while piece := _PIECE.match(text, at):
        span, at = _longer(span, piece, text, wanted), piece.end()
        if piece["unit"] in found:
            raise ValueError(f"{text!r} gives {piece['unit']} twice; add the two up")
        found.add(piece["unit"])
    if at < len(text) or not found:
        raise ValueError(f"{text!r} is not {wanted}")
    if span.about > LONGEST:
        raise ValueError(f"{text!r} is longer than 1000 years, which no calendar counts from now")
    return span


def _longer(span: Span, piece: re.Match[str], text: str, wanted: str) -> Span:
    number, unit = piece["number"], piece["unit"]
    if unit == "m":
        raise ValueError(f"{text!r} could be minutes or months; write min or month")
    if unit not in DURATION_UNITS:
        raise ValueError(f"{text!r} is not {wanted}")
    if unit not in CALENDAR_UNITS:
        return replace(span, seconds=span.seconds + float(number) * DURATION_UNITS[unit])
    if "." in number:
        raise ValueError(f"{text!r} breaks a day, week, month or year up; write whole ones")
    months, days = (int(number) * each for each in CALENDAR_UNITS[unit])
    return replace(span, months=span.months + months, days=span.days + days)


def parse_share(text: str) -> Share:
    """The share that a text such as `85%` means; ValueError when it means none."""
    number, _ = _split(text, {"%": 1}, "a percentage such as 85%")
    if number > 100:
        raise ValueError(f"{text!r} is more than the whole; write at most 100%")
    return Share(number)


def parse_mark(text: str) -> Share | int:
    """A mark on a disk: a percentage of it, or a size in bytes."""
    return parse_share(text) if text.rstrip().endswith("%") else parse_bytes(text)


def show_bytes(count: int) -> str:
    """*count* bytes for people: `0 B`, `512 B`, `4.2 GiB`; at most three digits and a unit."""
    amount = float(count)
    for unit in BINARY:
        if abs(amount) < 1000 or unit == "PiB":
            digits = 0 if unit == "B" or abs(amount) >= 99.95 else 1
            return f"{amount:.{digits}f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")  # pragma: no cover


def show_duration(seconds: float) -> str:
    """*seconds* for people, one unit: `0.4 s`, `90 s`, `6 min`, `1 h`, `3.5 h`, `12 d`."""
    if not math.isfinite(seconds):
        return "for ever"
    if seconds < 0:
        return f"-{show_duration(-seconds)}"
    for unit, size in (("d", DAY), ("h", 3_600), ("min", 60)):
        amount = seconds / size
        if amount >= 2 or (amount >= 1 and amount == int(amount)):
            return f"{_short(amount)} {unit}"
    return f"{_short(seconds)} s"


def _short(amount: float) -> str:
    return f"{amount:.1f}" if amount < 9.95 and amount % 1 else f"{amount:.0f}"


def show_text(text: str) -> str:
    r"""A name for a terminal or a log: no control character, bytes that are no UTF-8 as `\xNN`.

    Names come from others; an escape sequence in one must not reach a terminal.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how os.fsdecode carries a byte that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _split(text: str, units: dict[str, float] | dict[str, int], wanted: str) -> tuple[float, str]:
    match = _AMOUNT.fullmatch(text)
    if match is None or match["unit"] not in units:
        raise ValueError(f"{text!r} is not {wanted}")
    return float(match["number"]), match["unit"]
