"""The door to structlog: every line of ckptd is one event with fields, in one of three forms.

`people` for a terminal, `json` lines, or `journal`: native datagrams whose fields `journalctl`
can be asked for. An event is a word, `message` its sentence. Each form is a sink of its own, and
a sink says whether it took a line; none ever waits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TextIO

from ckptd.logs.fields import Fields, plain
from ckptd.logs.journal import JournalSink
from ckptd.logs.lines import LineSink, json_line, people_line

__all__ = ["JOURNAL", "Form", "configure", "in_doubt", "logger", "people_line", "plain", "say"]

Form = Literal["people", "json", "journal"]

JOURNAL: Final = "/run/systemd/journal/socket"
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


class _Sink(Protocol):
    def msg(self, fields: Fields) -> bool: ...

    def close(self) -> None: ...


_sinks: tuple[_Sink, ...] = ()  # the one, and the stream beside it


def configure(
    form: Form | Literal["auto"] = "auto", stream: TextIO | None = None, journal: str = JOURNAL
) -> Form:
    """Sends what is logged to *stream* (standard error) in *form*; returns the one it became.

    `auto`: the journal when *stream* is connected to it, people on a terminal, else JSON lines.
    What dependencies log as a warning or worse goes the same way.
    """
    import logging

    import structlog  # late: it costs more than all of ckptd that `--help` needs

    from ckptd.logs import dependencies

    global _sinks  # noqa: PLW0603  structlog's configuration is one per process as well
    stream = sys.stderr if stream is None else stream
    chosen = _chosen(stream) if form == "auto" else form
    for sink in _sinks:
        sink.close()
    lines = LineSink(stream, people_line if chosen == "people" else json_line)
    _sinks = sinks = (JournalSink(journal) if chosen == "journal" else lines, lines)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _complete, _hand_over],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda aside=False: sinks[aside],
        cache_logger_on_first_use=False,
    )
    dependencies.listen()
    return chosen


def logger(*, aside: bool = False) -> Any:
    """A bound logger: `logger().info("evict", message="...", checkpoint="...")`.

    Each call says whether the line was taken. `aside`: to the stream, whatever the form.
    """
    import structlog

    if not _sinks:
        configure()
    return structlog.get_logger(aside)


def say(level: Literal["info", "warning", "error"], event: str, **fields: Any) -> bool:
    """Logs what is kept nowhere else: to the stream, where the journal does not take it."""
    return any(getattr(logger(aside=way), level)(event, **fields) for way in (False, True))


def in_doubt() -> list[str]:
    """The ids of events that were taken and that the journal may not have all the same.

    It was stopped, and what its socket held is gone. Each is named once.
    """
    sink = _sinks[0] if _sinks else None
    return sink.in_doubt() if isinstance(sink, JournalSink) else []


def _complete(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Gives every event its time, sentence and priority, and makes every text safe to show."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    told = {"at": now, "event": "", "message": event["event"], "priority": _PRIORITIES[method]}
    return {key: plain(value) for key, value in {**told, **event}.items()}


def _hand_over(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[Fields], Any]:
    return (event,), {}


def _chosen(stream: TextIO) -> Form:
    if _is_journal(stream):
        return "journal"
    return "people" if stream.isatty() else "json"


def _is_journal(stream: TextIO) -> bool:
    """Whether *stream* is the socket that systemd names in $JOURNAL_STREAM."""
    try:
        seen = os.fstat(stream.fileno())
    except (OSError, ValueError):  # a stream without a descriptor is not the journal's
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{seen.st_dev}:{seen.st_ino}"
