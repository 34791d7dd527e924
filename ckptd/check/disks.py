"""The room on a filesystem, against what is asked of it. Values in, checks out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from ckptd.check.finding import Check, State
from ckptd.model import Filesystem
from ckptd.policy import Marks
from ckptd.policy.pressure import room
from ckptd.units import Share, show_bytes, show_text

# A save of a large model is some hundred files: shards, ranks, a tokenizer.
FEW_INODES: Final = 1000
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a disk: a used share at most (None: the `high` mark), bytes free (`need`).

    `promised` tells how many bytes ckptd would free of those that a disk may use too much, with
    marks that ask for it; `paths` are those of the command line.
    """

    max_used: Share | None
    need: int
    promised: Callable[[Filesystem, Marks], int]
    paths: Sequence[str]


def disk(filesystem: Filesystem, marks: Marks, wanted: Wanted) -> Iterator[Check]:
    """The checks of one filesystem."""
    if filesystem.usable <= 0:
        text = f"{_name(filesystem)} does not tell its size, so nobody knows when it is full"
        yield Check("used", filesystem.path, State.WARNING, text, room=True)
        return
    yield _used(filesystem, marks, wanted)
    if wanted.need:
        yield _need(filesystem, marks, wanted)
    yield from _inodes(filesystem)


def _used(filesystem: Filesystem, marks: Marks, wanted: Wanted) -> Check:
    left, most = _left(filesystem, marks, wanted.max_used)
    # As df shows it: rounded up.
    fact = f"{_name(filesystem)} is {ceil(filesystem.used_percent)}% used, {most}"
    if left >= 0:
        return Check("used", filesystem.path, State.OK, fact, room=True)
    text = f"{fact}; {_way_out(filesystem, marks, wanted, -left)}"
    return Check("used", filesystem.path, State.FAILED, text, room=True)


def _left(filesystem: Filesystem, marks: Marks, max_used: Share | None) -> tuple[int, str]:
    """Bytes left below what is allowed (below 0: too many are used), and what is allowed."""
    if max_used is None:
        high = show_bytes(marks.high) if isinstance(marks.high, int) else str(marks.high)
        # At the mark itself letting go begins.
        return room(filesystem, marks) - 1, f"with the high mark at {high}"
    usable = filesystem.usable
    return max_used.of(usable) - filesystem.used, f"and {max_used} are allowed"


def _need(filesystem: Filesystem, marks: Marks, wanted: Wanted) -> Check:
    missing = wanted.need - filesystem.free
    fact = f"{_name(filesystem)} has {show_bytes(filesystem.free)} that users can fill"
    if missing <= 0:
        text = f"{fact}, {show_bytes(wanted.need)} are needed"
        return Check("need", filesystem.path, State.OK, text, room=True)
    short = f"{fact}: {show_bytes(missing)} less than the {show_bytes(wanted.need)} needed"
    text = f"{short}; {_way_out(filesystem, marks, wanted, missing)}"
    return Check("need", filesystem.path, State.FAILED, text, room=True)


def _way_out(filesystem: Filesystem, marks: Marks, wanted: Wanted, missing: int) -> str:
    """How much of what is *missing* ckptd would let go by its policy, and by which command."""
    target = max(0, filesystem.used - missing)
    low = max(0, target // MIB - 1)
    asking = Marks((low + 1) * MIB, low * MIB, marks.hard, marks.max_headroom, reserve=0)
    promised = wanted.promised(filesystem, asking)
    if not promised:
        return "ckptd may let nothing go there, so make room by hand or use another disk"
    paths = "".join(f" {shlex.quote(show_text(path))}" for path in wanted.paths)
    command = f"ckptd apply --high {low + 1}MiB --low {low}MiB{paths}"
    if promised < missing:
        freed = f"{show_bytes(promised)} of it can be freed by its policy"
        return f"{freed}: {command}; the rest by hand or on another disk"
    return f"its policy can free them: {command}"


def _inodes(filesystem: Filesystem) -> Iterator[Check]:
    if filesystem.inodes_total <= 0:  # btrfs and others have no fixed number
        return
    fact = f"{_name(filesystem)} has {filesystem.inodes_free} inodes free"
    if filesystem.inodes_free >= FEW_INODES:
        yield Check("inodes", filesystem.path, State.OK, fact, room=True)
        return
    text = f"{fact}: too few for the files of a save; delete small files, or use another disk"
    yield Check("inodes", filesystem.path, State.FAILED, text, room=True)


def _name(filesystem: Filesystem) -> str:
    return f"{show_text(filesystem.mount)} ({show_text(filesystem.fstype)})"
