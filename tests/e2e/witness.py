"""Sees each file of a save closed, by an inotify of its own, and puts ckptd's words between.

When a line of ckptd arrives, everything closed before it is in the queue already: the kernel
queues at close(2). So what is drained after a line and was not there before it came too late.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

IN_CLOSE_WRITE, IN_MOVED_TO, IN_CREATE, IN_ISDIR = 0x8, 0x80, 0x100, 0x40000000
_HEAD = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Witness:
    """What happened to the checkpoints below *out*, in order: `(checkpoint, what)`.

    *what* is the name of a file that was closed or moved there, or `recognised`.
    """

    out: Path
    seen: list[tuple[str, str]] = field(default_factory=list)
    places: dict[int, str] = field(default_factory=dict)
    inotify: int = field(init=False)

    def __post_init__(self) -> None:
        self.inotify = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.inotify >= 0
        self._watch("")

    def listen(self, ckptd: subprocess.Popen[bytes], training: subprocess.Popen[bytes]) -> None:
        """Until *training* has ended and every save of it was recognised, or nothing comes."""
        assert ckptd.stderr is not None
        while True:
            ready, _, _ = select.select([self.inotify, ckptd.stderr], [], [], 10.0)
            if ckptd.stderr in ready:
                self._hear(ckptd.stderr)
            self._drain()
            if training.poll() is not None and (not ready or self._all_recognised()):
                return

    @property
    def recognised(self) -> list[str]:
        return [name for name, what in self.seen if what == "recognised"]

    def late(self) -> list[tuple[str, str]]:
        """Files that were closed after their checkpoint had been judged complete."""
        judged: set[str] = set()
        found = []
        for name, what in self.seen:
            if what == "recognised":
                judged.add(name)
            elif name in judged:
                found.append((name, what))
        return found

    def _all_recognised(self) -> bool:
        return set(os.listdir(self.out)) <= set(self.recognised)

    def _hear(self, stream: BinaryIO) -> None:
        line = stream.readline()
        told = json.loads(line) if line.startswith(b"{") else {}
        if told.get("event") == "recognised":
            self._drain()
            self.seen.append((os.path.basename(told["checkpoint"]), "recognised"))

    def _watch(self, name: str) -> None:
        mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE
        path = os.fsencode(self.out / name)
        watch = _LIBC.inotify_add_watch(self.inotify, path, mask)
        if watch >= 0:  # otherwise it has gone again
            self.places[watch] = name

    def _drain(self) -> None:
        while True:
            try:
                events = os.read(self.inotify, 65536)
            except BlockingIOError:
                return
            while events:
                watch, mask, _, length = _HEAD.unpack_from(events)
                name = os.fsdecode(events[_HEAD.size : _HEAD.size + length].rstrip(b"\0"))
                events = events[_HEAD.size + length :]
                self._take(self.places.get(watch, ""), name, mask)

    def _take(self, place: str, name: str, mask: int) -> None:
        if not place and mask & IN_ISDIR:
            self._watch(name)
        elif place and mask & (IN_CLOSE_WRITE | IN_MOVED_TO):
            self.seen.append((place, name))
