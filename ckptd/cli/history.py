"""`history`: what was done, when and why; the same records that the journal has."""

from __future__ import annotations

import argparse
import heapq
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any, Final

from ckptd import audit, beneath, status
from ckptd.cli import ledgers
from ckptd.errors import ConfigError
from ckptd.ledger import LedgerView
from ckptd.logs import plain
from ckptd.mounts import asked_around
from ckptd.units import parse_duration, show_text

Event = Mapping[str, Any]
VERSION: Final = 1
_SCALARS: Final = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Question:
    """Which events are asked for; `since` in seconds since 1970, `paths` as they are recorded."""

    since: float | None
    paths: Sequence[str]
    events: Sequence[str]
    limit: int | None

    def has(self, event: Event) -> bool:
        """Whether *event*, which comes from no ledger, is asked for."""
        subjects = [f"{event['checkpoint']}/", f"{event['run']}/"]
        tops = [show_text(path.rstrip("/")) + "/" for path in self.paths]
        return (
            (self.since is None or _moment(event).timestamp() >= self.since)
            and (not self.events or event["event"] in self.events)
            and (not tops or any(each.startswith(top) for each in subjects for top in tops))
        )


def history(arguments: argparse.Namespace) -> int:
    """`ckptd history [PATH...]`: 0, or 4 when some of what is remembered cannot be read."""
    question = _question(arguments)
    view = ledgers.view(arguments.state)
    events = _events(view, question, arguments)
    if arguments.json:
        _print_json(events)
    else:
        _print_lines(events)
    for alarm in view.alarms:
        print(f"ckptd: {show_text(alarm)}", file=sys.stderr)
    return 4 if view.alarms else 0


# --- what is asked -----------------------------------------------------------------------


def _question(arguments: argparse.Namespace) -> Question:
    named = [os.path.abspath(path) for path in arguments.paths]
    paths = dict.fromkeys(name for path in named for name in (path, _real(path)))
    return Question(
        since=_since(arguments.since) if arguments.since is not None else None,
        paths=tuple(paths),
        events=tuple(_known(event) for event in arguments.event or ()),
        limit=_count(arguments.limit) if arguments.limit is not None else None,
    )


def _real(path: str) -> str:
    """Without links, as far as what is on the way answers."""
    return asked_around(lambda: beneath.real(path))


def _since(text: str) -> float:
    """Seconds since 1970 that a span back from now, or a local moment, means."""
    moment = _local(text.strip())
    try:
        return time.time() - parse_duration(text) if moment is None else moment.timestamp()
    except ValueError as error:
        way = "a moment is 2026-01-02, 2026-01-02T03:04 or 14:30"
        raise ConfigError(f"--since: {error}", hint=way) from None
    except OverflowError:
        raise ConfigError(f"--since: no clock has shown {show_text(text)}") from None


def _local(text: str) -> datetime | None:
    """The moment that *text* is, in local time where it says no other; 14:30 is the last one."""
    try:
        if "-" in text[1:]:
            return datetime.fromisoformat(text)
        of_day = time_of_day.fromisoformat(text) if ":" in text else None
    except ValueError:
        return None
    if of_day is None:
        return None
    today = datetime.combine(date.today(), of_day)  # noqa: DTZ011  a person's own day
    return today if today.timestamp() <= time.time() else today - timedelta(days=1)


def _known(event: str) -> str:
    if event in audit.MESSAGE_IDS:
        return event
    from ckptd.config.values import nearest

    raise ConfigError(
        f"--event: {show_text(event)!r} is no event",
        hint=nearest(event, audit.MESSAGE_IDS) or f"events are {', '.join(audit.MESSAGE_IDS)}",
    )


def _count(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return int(text)
    raise ConfigError(f"--limit: {show_text(text)!r} is no count such as 20")


# --- what there is -----------------------------------------------------------------------


def _events(view: LedgerView, question: Question, arguments: argparse.Namespace) -> Iterator[Event]:
    """What is in the ledger, and what a daemon of root's did to this user's runs; by time."""
    records = view.history(question.since, question.paths, question.limit, question.events)
    # What is only intended is told once it has an outcome.
    told = (audit.event(record) for record in records if record.outcome != "intended")
    shown = [event for event in _shown(arguments) if question.has(event)]
    others = {event["id"]: event for event in shown if view.record(event["id"]) is None}
    merged = heapq.merge(told, sorted(others.values(), key=_moment), key=_moment)
    return merged if question.limit is None else iter(deque(merged, maxlen=question.limit))


def _shown(arguments: argparse.Namespace) -> Iterator[Event]:
    """Root's ledger is root's alone; what a user may know of it lies on the daemon's board.

    Root needs no such thing, and would have to believe what users write there.
    """
    if os.geteuid() == 0:
        return
    for report in status.read(arguments.state).reports:
        for event in report.document["events"]:
            fields = {key: plain(event.get(key)) for key in audit.FIELDS}
            if all(isinstance(value, _SCALARS) for value in fields.values()):
                yield fields


def _moment(event: Event) -> datetime:
    moment = datetime.fromisoformat(event["at"])
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- showing -----------------------------------------------------------------------------


def _print_json(events: Iterator[Event]) -> None:
    """One document, written as it is read: a history may be of any length."""
    print(f'{{"version": {VERSION}, "events": [', end="")
    separator = "\n"
    for event in events:
        print(separator, json.dumps(event, allow_nan=False), sep="", end="")
        separator = ",\n"
    print("\n]}")


def _print_lines(events: Iterator[Event]) -> None:
    none = True
    for event in events:
        none = False
        local = _moment(event).astimezone()
        print(f"{local:%Y-%m-%d %H:%M:%S} {event['message']}")
    if none:
        print("ckptd: nothing is recorded that fits", file=sys.stderr)
