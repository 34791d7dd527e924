"""One process and its life: when it began, who started it, what it leaves to others."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

from ckptd.procs import reading

_DEAD: Final = {b"Z", b"X"}


def ancestors() -> frozenset[int]:
    """The pids of our parent, its parent, and so on."""
    found: set[int] = set()
    pid = os.getppid()
    while pid and pid not in found:
        found.add(pid)
        pid = _parent(pid)
    return frozenset(found)


def began(pid: int) -> int | None:
    """When process *pid* began, in ticks since the boot; None when it has ended or is hidden.

    With it a pid means one process: a later one that has the same pid began later.
    """
    stat = reading.stat(pid)
    return int(stat[19]) if stat and stat[0] not in _DEAD else None


def booted_at() -> float:
    """When this machine, or the container that we are in, was started: seconds since 1970."""
    import psutil

    with suppress(psutil.Error):  # it is hidden from us
        return psutil.Process(1).create_time()
    return psutil.boot_time()


def give_way() -> None:
    """Lets the trainings have the disk first: lowest best-effort I/O priority of this thread.

    And of those that it starts. Not the idle class: that starves just when the disk fills.
    """
    import psutil

    this = psutil.Process(threading.get_native_id())  # the kernel takes a thread for a process
    this.ionice(psutil.IOPRIO_CLASS_BE, value=7)


def _parent(pid: int) -> int:
    """0 when it has none, has ended or is hidden. psutil would cost 40 ms of every start."""
    stat = reading.stat(pid)
    return int(stat[1]) if stat else 0
