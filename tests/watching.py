"""A real `ckptd watch` beside the test, and what it tells."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

ROOMY = ["--high", "99.9%", "--low", "99.8%", "--hard", "100%", "--reserve", "0B"]


class Watching:
    """A running `ckptd watch`; `events` are the records it told, as they arrive."""

    def __init__(self, process):
        self.process = process
        self.events = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.events.append(json.loads(line))

    def told(self, event, step=None):
        return [e for e in self.events if e["event"] == event and step in (None, e["step"])]

    def wait_for(self, event, step=None, *, seconds=30.0):
        assert until(lambda: self.told(event, step), seconds), self.events
        return self.told(event, step)[-1]


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (came := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return came


@contextmanager
def watching(state, *arguments, manager=None, **environment):
    """`ckptd watch` once it is ready; *manager* is the socket of a service manager to tell."""
    command = [sys.executable, "-m", "ckptd", "watch", "--json", "--state", str(state), *ROOMY]
    ready = manager or notify_socket()
    environ = os.environ | environment
    environ["NOTIFY_SOCKET"] = "@" + ready.getsockname()[1:].decode()
    process = subprocess.Popen(
        [*command, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=environ
    )
    try:
        while ready.recv(4096) != b"READY=1":
            pass
        yield Watching(process)
    finally:
        ready.close()
        process.kill()
        process.wait()
        process.stderr.close()


def notify_socket():
    """Where a service tells its manager how it is."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(f"\0ckptd-test-{os.getpid()}-{time.monotonic_ns()}")
    listening.settimeout(30)
    return listening
