"""Who keeps deleted files from coming free."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ckptd import mounts
from ckptd.errors import UnansweredError
from ckptd.procs import reading

_DELETED: Final = " (deleted)"  # proc_pid_fd(5)


@dataclass(frozen=True, slots=True)
class Keeper:
    """A process that has deleted files open: their bytes are free once it has closed them."""

    who: str
    bytes: int


def keepers(*places: str) -> tuple[Keeper, ...]:
    """Who keeps deleted files of the filesystems at *places* from coming free, the largest first.

    A path tells little here: a file in memory has one too, and each container its own.
    """
    found = []
    devices = set(_devices(places))
    for pid in reading.pids():
        if size := _kept_by(pid, devices):
            with suppress(*reading.GONE, PermissionError):
                command = reading.command(pid, reading.argv(pid))
                found.append(Keeper(f"{command} (pid {pid})", size))
    return tuple(sorted(found, key=lambda keeper: -keeper.bytes))


def _devices(places: Iterable[str]) -> Iterator[int]:
    for place in places:
        with suppress(OSError), mounts.reaching(place):
            yield os.stat(place).st_dev


def _kept_by(pid: int, devices: Collection[int]) -> int:
    """Bytes of deleted files of *devices* that process *pid* has open, each file once."""
    sizes: dict[tuple[int, int], int] = {}
    with suppress(OSError):
        here = f"/proc/{pid}/fd"
        for fd in os.listdir(here):
            target = reading.link(f"{here}/{fd}")
            if target.endswith(_DELETED):
                with suppress(UnansweredError), mounts.reaching(target):
                    seen = os.stat(f"{here}/{fd}")
                    if seen.st_dev in devices:
                        sizes[seen.st_dev, seen.st_ino] = seen.st_blocks * 512
    return sum(sizes.values())
