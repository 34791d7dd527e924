"""The door to structlog: every line of ckptd is one event with fields, in one of three forms.

`people` for a terminal, `json` lines, or `journal`: native datagrams whose fields `journalctl`
can be asked for. An event is a word, `message` its sentence. Nothing that a name could smuggle in
leaves here: control characters and bytes that are no UTF-8 are written out as escapes.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from ckptd.units import show_text

Form = Literal["people", "json", "journal", "auto"]
Fields = Mapping[str, Any]

JOURNAL: Final = "/run/systemd/journal/socket"
_SEND_BUFFER: Final = 8 * 2**20  # as libsystemd: a stalled journald then costs no line for long
_BARE: Final = frozenset({"message", "priority", "message_id"})  # fields that systemd has names for
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

_sink: LineSink | JournalSink | None = None


def configure(form: Form = "auto", stream: TextIO | None = None, journal: str = JOURNAL) -> None:
    """Sends what is logged to *stream* (standard error) in *form*.

    `auto`: the journal when *stream* is connected to it, people on a terminal, else JSON lines.
    """
    import logging

    import structlog  # late: it costs more than all of ckptd that `--help` needs

    global _sink  # noqa: PLW0603  structlog's configuration is one per process as well
    stream = sys.stderr if stream is None else stream
    sinks: dict[str, Callable[[], LineSink | JournalSink]] = {
        "people": lambda: LineSink(stream, people_line),
        "json": lambda: LineSink(stream, json_line),
        "journal": lambda: JournalSink(journal, LineSink(stream, json_line)),
    }
    if _sink is not None:
        _sink.close()
    sink = _sink = sinks[_chosen(stream) if form == "auto" else form]()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _complete, _hand_over],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )


def logger() -> Any:
    """A bound logger: `logger().info("evict", message="...", checkpoint="...")`."""
    import structlog

    if _sink is None:
        configure()
    return structlog.get_logger()


class LineSink:
    """Writes each event as one line. A stream that is gone loses lines, never the process."""

    def __init__(self, stream: TextIO, line: Callable[[Fields], str]) -> None:
        self._stream = stream
        self._line = line

    def msg(self, fields: Fields) -> None:
        try:
            self._stream.write(self._line(fields) + "\n")
            self._stream.flush()
        except OSError:  # whatever befell the terminal or the pipe, the training is still guarded
            return

    def close(self) -> None:
        """Leaves the stream to its owner."""

    debug = info = warning = error = critical = msg


class JournalSink:
    """Sends each event to journald without ever waiting; what it cannot take goes to a stream."""

    def __init__(self, path: str, otherwise: LineSink) -> None:
        self._path = path
        self._otherwise = otherwise
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def msg(self, fields: Fields) -> None:
        try:
            self._socket.sendto(journal_datagram(fields), self._path)
        except OSError:  # not there, stalled or too long: the line must not be lost for it
            self._otherwise.msg(fields)

    def close(self) -> None:
        """Closes the socket; the stream stays its owner's."""
        self._socket.close()

    debug = info = warning = error = critical = msg


def people_line(fields: Fields) -> str:
    """Time, event, sentence; the sentence alone where it begins with the event's word."""
    local = datetime.fromisoformat(fields["at"]).astimezone()
    event, message = fields["event"], fields["message"]
    told = message if message.split(" ")[0] == event else f"{event}: {message}"
    return f"{local:%H:%M:%S} {told}"


def json_line(fields: Fields) -> str:
    """All fields as one JSON object on one line, in ASCII."""
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def journal_datagram(fields: Fields) -> bytes:
    """The fields as journald's native protocol has them; a field without a value is left out."""
    named = {_journal_name(key): value for key, value in fields.items() if value is not None}
    pairs = {"SYSLOG_IDENTIFIER": "ckptd"} | named
    return b"".join(_journal_field(name, value) for name, value in pairs.items())


def _journal_name(key: str) -> str:
    return key.upper() if key in _BARE else f"CKPTD_{key.upper()}"


def _journal_field(name: str, value: Any) -> bytes:
    # No newline can be in it: every text came through show_text, and JSON has none inside.
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"{name}={text}\n".encode()


def _complete(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Gives every event its time, sentence and priority, and makes every text safe to show."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    told = {"at": now, "event": "", "message": event["event"], "priority": _PRIORITIES[method]}
    return {key: _plain(value) for key, value in {**told, **event}.items()}


def _hand_over(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[Fields], Any]:
    return (event,), {}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return show_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {show_text(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return (
        value if value is None or isinstance(value, bool | int | float) else show_text(str(value))
    )


def _chosen(stream: TextIO) -> Literal["people", "json", "journal"]:
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
