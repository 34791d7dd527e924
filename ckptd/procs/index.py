"""What is used, found again by any directory above it."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress

from ckptd import mounts
from ckptd.errors import UnansweredError
from ckptd.mounts import Mounts
from ckptd.procs.process import Process

Fact = tuple[str, str, int]  # a path, how it is used, by which pid


class Index:
    """Facts, found by any directory above them."""

    def __init__(self, processes: dict[int, Process], facts: Iterable[Fact]) -> None:
        self._facts = sorted({fact for fact in facts if fact[0]})
        self._places: dict[tuple[int, int], set[tuple[str, int]]] = {}
        known: dict[tuple[str, str], tuple[int, int] | None] = {}
        seen: dict[str, Mounts] = {}
        for path, how, pid in self._facts:
            if namespace := processes[pid].elsewhere:
                if namespace not in seen:
                    seen[namespace] = mounts.of_process(pid)
                for place in _above(path):
                    key = (namespace, place)
                    if key not in known:
                        known[key] = _identity_there(pid, place, seen[namespace])
                    if (identity := known[key]) is not None:
                        self._places.setdefault(identity, set()).add((how, pid))

    def at_or_below(self, path: str) -> set[tuple[str, int]]:
        """How and by whom *path* or something below it is used."""
        inside = path.rstrip("/") + "/"
        found = {
            (how, pid)
            for first, last in ((path, path + "\0"), (inside, inside[:-1] + chr(ord("/") + 1)))
            for _, how, pid in self._facts[self._position(first) : self._position(last)]
        }
        identity = _identity(path) if self._places else None
        return found | self._places.get(identity, set()) if identity else found

    def _position(self, path: str) -> int:
        return bisect_left(self._facts, (path,))


def _above(path: str) -> Iterator[str]:
    """*path* and every directory above it but the root."""
    while len(path) > 1:
        yield path
        path = os.path.dirname(path)


def _identity_there(pid: int, path: str, seen: Mounts) -> tuple[int, int] | None:
    """Of what process *pid*, which sees other mounts than we do, has at *path*."""
    with suppress(UnansweredError), mounts.reaching(path, seen):
        return _identity(f"/proc/{pid}/root{path}")
    return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None  # of whatever kind (a dead mount, no rights): then the paths alone speak
    return stat.st_dev, stat.st_ino
