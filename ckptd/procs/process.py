"""One process, as far as files go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ckptd.procs import reading

_COMMANDS: Final = frozenset(
    {"watch", "exec", "plan", "apply", "why", "status", "history", "advise", "simulate", "adopt"}
    | {"pin", "unpin", "restore", "archive", "finish", "check", "config", "completion", "install"}
    | {"demo"}
)


@dataclass(frozen=True, slots=True)
class Process:
    """What one process has to do with files. `cwd` is empty where nobody says.

    `elsewhere` is the mount namespace where that is not ours, else empty; `barred` says that
    what it has open is kept from us. Of a `launcher` only open files count.
    """

    pid: int
    command: str
    argv: tuple[str, ...] = ()
    cwd: str = ""
    opened: frozenset[str] = frozenset()
    elsewhere: str = ""
    barred: bool = False
    launcher: bool = False


def read_process(pid: int, ours: str, inherited: frozenset[str] | None) -> Process | None:
    """What /proc says of *pid*; None when it is gone, or is another ckptd."""
    try:
        argv = reading.argv(pid)
        if _is_ckptd(argv):
            return None
        command = reading.command(pid, argv)
    except PermissionError:  # proc_pid(5), hidepid=1: nothing is told of others' processes
        return Process(pid, "", barred=True)
    except reading.GONE:
        return None
    launcher = inherited is not None
    try:
        cwd, namespace = reading.link(f"/proc/{pid}/cwd"), reading.namespace(pid)
        opened = reading.opened(pid) - (inherited or frozenset())
    except PermissionError:
        # A kernel thread has no command line, and nothing that it could hide.
        return Process(pid, command, argv, barred=bool(argv), launcher=launcher)
    except reading.GONE:
        return None
    elsewhere = "" if namespace == ours else namespace
    return Process(pid, command, argv, cwd, opened, elsewhere, launcher=launcher)


def _is_ckptd(argv: tuple[str, ...]) -> bool:
    """Whether this is ckptd or starts it. An output directory may be called ckptd as well."""
    return any(
        command in _COMMANDS and os.path.basename(program) == "ckptd"
        for program, command in pairwise(argv)
    )
