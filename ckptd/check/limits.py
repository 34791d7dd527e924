"""What the machine allows: inotify's watches and instances, and a place for the ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from ckptd.check.finding import Check, State
from ckptd.check.place import nearest
from ckptd.units import show_text
from ckptd.watch.aims import reason
from ckptd.watch.inotify import Inotify

SYSCTL: Final = "/proc/sys/fs/inotify"
_TIMER: Final = "ckptd then looks there once a minute only"


def inotify(directories: int) -> Iterator[Check]:
    """Whether so many *directories* can be watched."""
    limit = _sysctl("max_user_watches")
    if limit is not None:
        yield watches(directories, limit)
    yield _instances()


def watches(directories: int, limit: int) -> Check:
    """Whether *limit* watches are enough; other programs of the same user need some, too."""
    several = "1 directory" if directories == 1 else f"{directories} directories"
    fact = f"{several} to watch, fs.inotify.max_user_watches is {limit}"
    if directories <= limit:
        return Check("inotify_watches", "", State.OK, fact)
    text = f"{fact}: not all can be watched, {_TIMER}; sysctl fs.inotify.max_user_watches raises it"
    return Check("inotify_watches", "", State.WARNING, text)


def _instances() -> Check:
    try:
        Inotify().close()
    except OSError as error:
        text = f"nothing can be watched, {_TIMER}: {reason(error)}"
        return Check("inotify_instances", "", State.WARNING, text)
    limit = _sysctl("max_user_instances")
    return Check("inotify_instances", "", State.OK, f"an inotify instance is left, of {limit}")


def _sysctl(name: str) -> int | None:
    try:
        with open(f"{SYSCTL}/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def ledger(state_dir: str) -> Check:
    """Whether *state_dir* can hold a ledger, or be made."""
    here = nearest(state_dir)
    shown = show_text(state_dir)
    if not os.path.isdir(here):
        why = f"{show_text(here)} is no directory"
    elif not os.access(here, os.W_OK | os.X_OK, effective_ids=True):
        why = f"nothing can be written in {show_text(here)}"
    else:
        when = "is there" if here == state_dir else "can be made"
        return Check("ledger", state_dir, State.OK, f"{shown} {when}, the ledger lies in it")
    text = f"the ledger cannot be kept in {shown}: {why}, so ckptd does not start; see --state DIR"
    return Check("ledger", state_dir, State.FAILED, text)
