"""Events as lines of a stream: for people, or as JSON."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from ckptd.logs.fields import Fields
from ckptd.units import show_text


class LineSink:
    """Writes each event as one line, past the stream's own buffer.

    A reader that has stopped reading, or gone, costs lines and never the process: a line that
    would have to wait is not taken.
    """

    def __init__(self, stream: TextIO, line: Callable[[Fields], str]) -> None:
        self._stream = stream
        self._line = line

    def msg(self, fields: Fields) -> bool:
        """Whether the line was written."""
        text = self._line(fields) + "\n"
        try:
            return self._write(text)
        except (OSError, ValueError):  # the terminal or the pipe is gone, or its disk is full
            return False

    def _write(self, text: str) -> bool:
        try:
            fd = self._stream.fileno()
        except OSError:  # a stream in memory
            self._stream.write(text)
            return True
        raw = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
        if not _takes(fd):
            return False
        while raw:
            raw = raw[os.write(fd, raw) :]
        return True

    def close(self) -> None:
        """Leaves the stream to its owner."""

    debug = info = warning = error = critical = msg


def people_line(fields: Fields) -> str:
    """Time, event, sentence; the sentence alone where it begins with the event's word.

    What lies below the current directory is named from there.
    """
    local = datetime.fromisoformat(fields["at"]).astimezone()
    event, message = fields["event"], _shortened(fields)
    told = message if message.split(" ")[0] == event else f"{event}: {message}"
    return f"{local:%H:%M:%S} {told}"


def json_line(fields: Fields) -> str:
    """All fields as one JSON object on one line, in ASCII."""
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def _shortened(fields: Fields) -> str:
    message: str = fields["message"]
    place = fields.get("checkpoint") or fields.get("run")
    try:
        here = show_text(os.getcwd()).rstrip("/") + "/"
    except OSError:  # it has been removed
        return message
    if not place or not place.startswith(here):
        return message
    return message.replace(place, place.removeprefix(here), 1)


def _takes(fd: int) -> bool:
    """Whether writing would not wait. An error counts as well: writing says which one it is."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
