"""Events for journald, in its native protocol: every field can be asked for."""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import socket
import threading
from collections import deque
from typing import Any, Final

from ckptd.logs.fields import Fields

_SEND_BUFFER: Final = 8 * 2**20  # as libsystemd: a stalled journald then takes more before it full
_BARE: Final = frozenset({"message", "priority", "message_id"})  # fields that systemd has names for
_TOO_LONG: Final = frozenset({errno.EMSGSIZE, errno.ENOBUFS})  # for a datagram
_CLOSED: Final = frozenset({errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE})
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
# More than is lost with a socket of journald's. systemd has the kernel let 512 wait in one, and
# while it stops journald it reads them itself, and throws them away, until the socket is closed.
REMEMBERED: Final = 2048


class JournalSink:
    """Sends each event to journald's socket at *path*, and never waits for it.

    It stays connected to the socket that took the first one. So it notices when nobody has that
    any more, also when there is another one at the path by then: what it held is gone.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._alone = threading.RLock()
        self._taken: deque[str] = deque(maxlen=REMEMBERED)  # ids of what the socket took
        self._in_doubt: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def msg(self, fields: Fields) -> bool:
        """Whether journald has it; not, when it is away or does not keep up."""
        datagram = journal_datagram(fields)
        with self._alone:
            try:
                self._send(datagram)
            except OSError as error:
                if error.errno not in _CLOSED or not self._send_anew(datagram):
                    return False
            if ident := fields.get("id"):
                self._taken.append(ident)
            return True

    def in_doubt(self) -> list[str]:
        """The ids of events, in their order, that may have been lost with a socket.

        The last that those took which were closed since this was asked last. That journald has
        read an event cannot be told from that systemd has thrown it away.
        """
        with self._alone:
            found, self._in_doubt = self._in_doubt, []
            return found

    def _send_anew(self, datagram: bytes) -> bool:
        """To the socket that is at the path now; whether there is one that takes it."""
        self._in_doubt += self._taken
        self._taken.clear()
        try:
            self._socket.connect(self._path)
            self._send(datagram)
        except OSError:
            return False
        return True

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError as error:
            if error.errno not in _TOO_LONG:
                raise
            self._send_in_memory(datagram)

    def _send_in_memory(self, datagram: bytes) -> None:
        """By a file in memory, sealed: journald reads no other that might change under it."""
        with os.fdopen(
            os.memfd_create("ckptd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb"
        ) as file:
            file.write(datagram)
            file.flush()
            fcntl.fcntl(file.fileno(), fcntl.F_ADD_SEALS, _SEALS)
            rights = array.array("i", [file.fileno()])
            self._socket.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    debug = info = warning = error = critical = msg


def journal_datagram(fields: Fields) -> bytes:
    """The fields as journald's native protocol has them; a field without a value is left out."""
    named = {_name(key): value for key, value in fields.items() if value is not None}
    pairs = {"SYSLOG_IDENTIFIER": "ckptd"} | named
    return b"".join(_field(name, value) for name, value in pairs.items())


def _name(key: str) -> str:
    return key.upper() if key in _BARE else f"CKPTD_{key.upper()}"


def _field(name: str, value: Any) -> bytes:
    # No newline can be in it: every text came through `plain`, and JSON has none inside.
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"{name}={text}\n".encode()
