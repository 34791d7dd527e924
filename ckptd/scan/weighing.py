"""How much lies in a tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from ckptd import beneath
from ckptd.errors import UnansweredError
from ckptd.mounts import reaching, step
from ckptd.scan.listing import may_hang_in

_A_BEAT: Final = 10_000  # entries, some tenths of a second


def weigh(root: str, beat: Callable[[], None] = lambda: None) -> int:
    """Bytes on disk of all that lies at or below the absolute *root*, hard links once.

    Mounts are not entered. What cannot be read weighs nothing. *beat* is called for each directory
    and within large ones; an OSError that it raises ends the weighing with what was seen so far.
    """
    try:
        with reaching(root):
            return _weight(root, beat)
    except UnansweredError:
        return 0


def _weight(root: str, beat: Callable[[], None]) -> int:
    weight, linked, waiting = 0, set[int](), [""]
    try:
        fd = beneath.open_directory(root)
    except OSError:
        return 0
    try:
        while waiting:
            beat()
            below = waiting.pop()
            for name, seen in _weighed(fd, below, beat):
                if stat.S_ISDIR(seen.st_mode):
                    waiting.append(os.path.join(below, name))
                elif seen.st_nlink > 1 and seen.st_ino in linked:
                    continue
                else:
                    linked |= {seen.st_ino} if seen.st_nlink > 1 else set()
                weight += seen.st_blocks * 512
    except OSError:  # of the beat
        pass
    finally:
        os.close(fd)
    return weight


def _weighed(fd: int, below: str, beat: Callable[[], None]) -> Iterator[tuple[str, os.stat_result]]:
    """Names and facts of what lies in the directory *below* the open one, on its device."""
    try:
        here = beneath.open_beneath(fd, below)
    except OSError:
        return
    try:
        device = os.fstat(here).st_dev
        with os.scandir(here) as entries:
            mounted = may_hang_in(here)
            for nth, entry in enumerate(entries, start=1):
                if nth % _A_BEAT == 0:
                    beat()
                step()
                if entry.name in mounted:
                    continue
                with suppress(OSError):
                    seen = entry.stat(follow_symlinks=False)
                    if seen.st_dev == device:
                        yield entry.name, seen
    finally:
        os.close(here)
