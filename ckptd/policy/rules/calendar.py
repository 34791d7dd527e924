"""Moments by the clock on the wall, in the time zone that ckptd runs in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ckptd.units import Span


def local(moment: datetime) -> datetime:
    """*moment* in local time; as it is where the calendar ends, in the years 1 and 9999."""
    try:
        return moment.astimezone()
    except (OverflowError, ValueError):
        return moment


def before(moment: datetime, span: Span) -> datetime | None:
    """The moment that lies *span* before; None when that is before the first year.

    Months and days are taken off the calendar, where 31 March less a month is 3 March (the 31st
    day of February), and the clock on the wall shows the same; then come the hours, as they pass.
    """
    wall = local(moment)
    year, month = divmod(wall.year * 12 + wall.month - 1 - span.months, 12)
    try:
        first = wall.replace(year=year, month=month + 1, day=1, tzinfo=None)
        there = _moment(first + timedelta(days=wall.day - 1 - span.days))
        return there - timedelta(seconds=span.seconds)
    except (OverflowError, ValueError):
        return None


def _moment(wall: datetime) -> datetime:
    """When the clock on the wall shows *wall*, as Go and so restic find it.

    Twice a year that is a matter of taste: an hour comes twice, and one not at all.
    """
    as_utc = wall.replace(tzinfo=UTC)
    return as_utc - _offset(as_utc - _offset(as_utc))


def _offset(moment: datetime) -> timedelta:
    return moment.astimezone().utcoffset() or timedelta()
