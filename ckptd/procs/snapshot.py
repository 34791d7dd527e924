"""Who uses what: one pass over /proc, then questions about runs and checkpoints.

A process in a container sees a directory under a path of its own; there the directories are
compared, device and inode, besides the paths.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Final

from ckptd.model import Use
from ckptd.procs import reading
from ckptd.procs.index import Fact, Index
from ckptd.procs.names import Names
from ckptd.procs.process import Process, read_process

_HOW: Final = ("open", "mapped", "cwd", "named")


class Snapshot:
    """What every process had open, worked in and named at one moment."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self._processes = {process.pid: process for process in processes}
        self._seen = Index(self._processes, self._facts())

    @property
    def blind(self) -> frozenset[int]:
        """Processes of others whose open files are kept from us; what they use is not known."""
        return frozenset(process.pid for process in self._processes.values() if process.barred)

    def uses(self, path: str, *, mapped: bool = True) -> tuple[Use, ...]:
        """Who uses the file or directory at the absolute real *path*, or anything below it.

        Open files first, then *mapped* ones (read when first asked for: about as dear as the
        rest together), working directories and command lines.
        """
        found = self._seen.at_or_below(path)
        if mapped:
            found |= self._mapped.at_or_below(path)
        ranked = sorted((_HOW.index(how), pid) for how, pid in found)
        return tuple(Use(_HOW[rank], pid, self._processes[pid].command) for rank, pid in ranked)

    def _facts(self) -> Iterator[Fact]:
        names = Names()
        for process in self._processes.values():
            for path in process.opened:
                yield path, "open", process.pid
            if process.launcher:
                continue
            yield process.cwd, "cwd", process.pid
            for path in names.of(process):
                yield path, "named", process.pid

    @cached_property
    def _mapped(self) -> Index:
        facts = ((path, "mapped", pid) for pid in self._processes for path in reading.maps(pid))
        return Index(self._processes, facts)


def look(*, ignore: Collection[int] = ()) -> Snapshot:
    """Who uses what, now. Quick: no more is read than /proc's links and command lines.

    Left out are this process, kernel threads, the dead, and every other ckptd with the wrappers
    that started it (`timeout 60 ckptd apply out`). Processes in *ignore* (our launchers) name a
    run only because they started us: of them only open files count that we did not inherit.
    """
    ours, inherited = reading.namespace("self"), reading.opened("self")
    return Snapshot(
        process
        for pid in reading.pids()
        if pid != os.getpid()
        and (process := read_process(pid, ours, inherited if pid in ignore else None)) is not None
    )
