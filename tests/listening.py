"""A socket in journald's place, and logging as a fresh process has it."""

import array
import io
import logging
import os
import socket
from contextlib import suppress

import structlog

from ckptd import logs
from ckptd.logs import dependencies

LONGEST = 2**20
ROOM = 4096  # for what is passed beside it
BARE = {"message", "message_id", "priority"}


def forget_logging():
    """Nothing is configured, as when a process begins."""
    structlog.reset_defaults()
    for sink in logs._sinks:
        sink.close()
    logs._sinks = ()
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, dependencies._Handler)]
    logging.captureWarnings(capture=False)


class Journal:
    """Takes what is sent to the socket at *path*; as a context manager it is closed at the end."""

    def __init__(self, path):
        self.path = str(path)
        self._socket = None

    def __enter__(self):
        self.come()
        return self

    def __exit__(self, *_):
        self.go()

    def come(self):
        """As journald when it begins: in the place of a socket that nobody has any more."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(5)

    def go(self):
        """As journald and its socket when they are stopped: what was not received is gone.

        The socket's name stays in its place, and nobody listens.
        """
        self._socket.close()

    def received(self):
        """The fields of the next event; fails when none comes."""
        datagram, passed, *_ = self._socket.recvmsg(LONGEST, ROOM)
        if passed:
            ((*_, rights),) = passed
            (fd,) = array.array("i", rights)
            with os.fdopen(fd, "rb") as file:
                file.seek(0)
                datagram = file.read()
        return fields_of(datagram)

    def all(self):
        """The fields of every event that has come so far."""
        self._socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.received())
        except BlockingIOError:
            self._socket.settimeout(5)
            return found


def fields_of(datagram):
    assert datagram.endswith(b"\n")
    lines = datagram.decode().split("\n")[:-1]
    pairs = [line.partition("=") for line in lines]
    assert all(separator for _, separator, _ in pairs)
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}


def journal_fields(event):
    """What the journal is to have of the fields that `audit.event` gives."""
    return {
        key.upper() if key in BARE else f"CKPTD_{key.upper()}": str(value)
        for key, value in event.items()
        if value is not None
    }


def lines_in(form):
    """Sends what is logged to memory in *form*; a function that takes what has come so far."""
    stream = io.StringIO()
    logs.configure(form, stream)

    def lines():
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        return text.splitlines()

    return lines
