"""What the runs under way will write next, and when that fills the disk. Pure.

A disk that has room at the moment of a look may be full at the next one. So the room for what can
land in between is asked for beforehand, whatever the marks say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Final

from ckptd.model import Checkpoint, Filesystem, Health, Run
from ckptd.policy.rhythm import Rhythm, rhythm
from ckptd.policy.rules import KeepLast
from ckptd.policy.settings import Policies, Policy

# A run that nobody is seen to use is under way for this many of its own intervals after a save,
# and for so long in seconds after its first.
PATIENCE: Final = 3
FIRST_PATIENCE: Final = 6 * 3600.0
# Seconds in which room is made once it is seen to lack: a look, and unlinking the largest save.
REACTION: Final = 2.0
# The same where directories are polled, since other hosts write there.
POLLED: Final = 10.0
# The same where others than trainings write: nothing but a look at the free space tells of them.
LEAD: Final = 10.0
MOST_AT_ONCE: Final = 8
# Bytes a second that no disk takes more of: copies may lie closer together than any training saves.
FASTEST: Final = 8 * 2**30
NEWEST: Final = 3
# A save that is larger by so little is as large as usual: metadata, a log that grows, or what the
# filesystem allocates beyond the end of an open file.
USUAL: Final = 1 / 16

Growth = tuple[float, float]  # bytes a second, and how many bytes at most


@dataclass(frozen=True, slots=True)
class Reserve:
    """Room for what comes next. `coming` and `inodes` are expected, `margin` (bytes) is in case
    that it is more: a save may grow to twice the one before it, or another one follow at once.
    `under_way` are those of `coming` that belong to saves which are open.
    """

    coming: int = 0
    margin: int = 0
    inodes: int = 0
    under_way: int = 0

    @property
    def bytes(self) -> int:
        return self.coming + self.margin


def is_under_way(run: Run, measured: Rhythm | None, now: float) -> bool:
    """Whether more saves are expected: somebody uses *run*, or its next save is not overdue."""
    if run.live or run.attended or measured is None:
        return run.live or run.attended
    since = now - measured.last_at
    if measured.seconds is None:  # with several saves: copied in one go
        return measured.count == 1 and since <= FIRST_PATIENCE
    return since <= PATIENCE * measured.seconds


def is_finished(run: Run, now: datetime, after: float) -> bool:
    """Whether the training of *run* is over: nobody uses it, and nothing was saved for long.

    *after* are the seconds of quiet that it takes, though no fewer than three save intervals. A
    look that asks nobody who uses what believes the quiet; every act looks again and asks.
    """
    if run.live or any(c.uses or c.unseen for c in run.checkpoints):
        return False
    # By both clocks: one that is set forward makes no run old, nor do the old times of a copy.
    quiet = [min(c.age, (now - c.saved_at).total_seconds()) for c in run.checkpoints]
    return bool(quiet) and min(quiet) > max(after, 3 * (run.save_interval_seconds or 0.0))


def reserve(filesystem: Filesystem, runs: Iterable[Run], now: datetime) -> Reserve:
    """What *runs* and others may write to *filesystem* before room can be made."""
    late = POLLED if filesystem.shared else REACTION
    each = [_reserve_of(run, now.timestamp(), late) for run in runs]
    others = int(filesystem.writes * LEAD)
    return Reserve(
        coming=sum(r.coming for r in each) + others,
        margin=sum(r.margin for r in each) + others,
        inodes=sum(r.inodes for r in each),
        under_way=sum(r.under_way for r in each),
    )


def _reserve_of(run: Run, now: float, late: float) -> Reserve:
    measured = rhythm(run.saves)
    files = max((c.inodes for c in run.complete[-NEWEST:]), default=0)
    if open_ones := [c for c in run.checkpoints if c.health is Health.WRITING]:
        return _rest_of(open_ones, measured, files)
    if measured is None or not is_under_way(run, measured, now):
        return Reserve()
    count = _at_once(measured, late)
    return Reserve(count * measured.bytes, measured.bytes, (count + 1) * files)


def _rest_of(open_ones: Sequence[Checkpoint], measured: Rhythm | None, files: int) -> Reserve:
    """What is still to be written of saves that are open; nobody knows the end of a larger one."""
    # What it links was there before.
    written, size = sum(c.frees for c in open_ones), measured.bytes if measured else 0
    inodes = 2 * max(files, *(c.inodes for c in open_ones))
    if written < size * (1 + USUAL):
        rest = max(0, size - written)
        return Reserve(rest, size, inodes, rest)
    return Reserve(written, written, inodes, written)


def _at_once(measured: Rhythm, late: float) -> int:
    """How many saves may land before room is made for the first, *late* seconds after it."""
    if not measured.seconds:
        return 1
    quickest = max(measured.seconds, measured.bytes / FASTEST)
    return min(MOST_AT_ONCE, 1 + int(late / quickest))


# --- when it is full -----------------------------------------------------------------------


def growth(run: Run, measured: Rhythm, *, kept: int | None = None) -> Growth:
    """How fast and how far *run* grows by itself; a trainer that rotates to *kept* stops."""
    pace = measured.bytes / measured.seconds if measured.seconds else 0.0
    if kept is None:
        return pace, inf
    more = kept + 1 - len(run.checkpoints)
    return pace, float(max(0, more) * measured.bytes)


def growths(filesystem: Filesystem, runs: Iterable[Run], now: datetime) -> Iterator[Growth]:
    """How everything that is under way on *filesystem* grows when nothing is let go."""
    for run in runs:
        measured = rhythm(run.saves)
        if measured and is_under_way(run, measured, now.timestamp()):
            yield growth(run, measured, kept=run.trainer_limit)
    yield filesystem.grows, inf


def stuck_growths(
    filesystem: Filesystem, runs: Iterable[Run], policies: Policies, now: datetime
) -> Iterator[Growth]:
    """How what nobody may let go of grows: runs that are not ours, and others than runs."""
    stuck = [run for run in runs if _is_stuck(run, policies.of(run.path))]
    yield from growths(filesystem, stuck, now)


def _is_stuck(run: Run, policy: Policy) -> bool:
    kept = any(isinstance(rule, KeepLast) and rule.count is None for rule in policy.firm)
    return not run.adopted or not run.trusted or bool(policy.frozen) or kept


def full_in(free: int, growing: Iterable[Growth]) -> float | None:
    """Seconds until *free* bytes are written by all together; None when they never are."""
    ordered = sorted((most / pace, pace) for pace, most in growing if pace > 0)
    passed, left = 0.0, float(max(0, free))
    while ordered:
        pace = sum(pace for _, pace in ordered)
        ends, _ = ordered[0]
        if left <= pace * (ends - passed):
            return passed + left / pace
        left -= pace * (ends - passed)
        passed = ends
        del ordered[0]
    return None
