"""How much a filesystem must gain, from its marks and from what comes next: facts to demand."""

from __future__ import annotations

from typing import Final

from ckptd.model import Filesystem, Relief
from ckptd.policy.foresight import Reserve
from ckptd.policy.settings import Marks
from ckptd.units import Share

NOTHING: Final = Reserve()


def demand(
    filesystem: Filesystem,
    marks: Marks,
    *,
    before: frozenset[str] = frozenset(),
    reserve: Reserve = NOTHING,
) -> Relief:
    """What *filesystem* needs, in bytes and in inodes.

    It begins when `high` is reached and, where *before* names it, lasts until `low` is reached, so
    that a disk at its mark does not flap; or when less is free than *reserve*. What only a reserve
    or inodes demanded was past no mark in bytes, and needs no more than that.
    """
    of_bytes, of_inodes = filesystem.name, f"{filesystem.name}: inodes"
    usable = filesystem.usable
    if usable <= 0:
        return Relief(filesystem)  # some filesystems tell no size
    high, low, hard = _in_bytes(marks, usable)
    passed = filesystem.used >= high or (of_bytes in before and filesystem.used > low)
    relieving = of_inodes in before
    passed_inodes, inodes = _inodes(filesystem, marks, reserve, relieving=relieving)
    names = {of_bytes: passed, of_inodes: passed_inodes}
    state = "hard" if filesystem.used >= hard else "high" if passed or passed_inodes else "ok"
    by_marks = max(0, filesystem.used - low) if passed else 0
    room = usable - filesystem.used  # below 0 where a limit is exceeded
    coming = max(0, reserve.coming - room)
    return Relief(
        filesystem,
        state,
        demand=max(by_marks, reserve.bytes - room, 0),
        inodes=inodes,
        reserve=reserve.bytes,
        coming=reserve.coming,
        urgent=by_marks > 0 or coming > 0 or inodes > 0,
        shortfall=max(by_marks, coming),
        inodes_shortfall=inodes,
        floor=max(usable - high, reserve.bytes - reserve.under_way),
        inodes_floor=_inodes_floor(filesystem, marks, reserve),
        relieving=frozenset(name for name, holds in names.items() if holds),
    )


def _inodes(
    filesystem: Filesystem, marks: Marks, reserve: Reserve, *, relieving: bool
) -> tuple[bool, int]:
    """Whether so many are used as a mark says, and how many are demanded.

    A mark in bytes says nothing about them; some filesystems have no limit.
    """
    total, free = filesystem.inodes_total, filesystem.inodes_free
    if total <= 0:
        return False, 0
    used, low = total - free, _share(marks.low).of(total)
    passed = used >= _share(marks.high).of(total) or (relieving and used > low)
    return passed, max(0, used - low if passed else 0, reserve.inodes - free)


def _inodes_floor(filesystem: Filesystem, marks: Marks, reserve: Reserve) -> int:
    total = filesystem.inodes_total
    return max(total - _share(marks.high).of(total), reserve.inodes) if total > 0 else 0


def _share(mark: Share | int) -> Share:
    return mark if isinstance(mark, Share) else Share(100)


def room(filesystem: Filesystem, marks: Marks) -> int:
    """Bytes that users may still write before `high` is reached; below 0 when it is passed."""
    high = _bytes_used(marks.high, filesystem.usable, marks)
    return min(filesystem.free, high - filesystem.used)


def gained_at_once(filesystem: Filesystem, marks: Marks) -> int:
    """Bytes that come free when `high` is reached: those between it and `low`."""
    high, low, _ = _in_bytes(marks, filesystem.usable)
    return high - low


def _in_bytes(marks: Marks, usable: int) -> tuple[int, int, int]:
    """The bytes used at `high`, `low` and `hard`: in this order also where a size meets a share."""
    high, low, hard = (
        _bytes_used(mark, usable, marks) for mark in (marks.high, marks.low, marks.hard)
    )
    return high, min(low, high), max(hard, high)


def _bytes_used(mark: Share | int, usable: int, marks: Marks) -> int:
    if isinstance(mark, int):
        return mark
    headroom = usable - mark.of(usable)
    if not isinstance(marks.high, Share) or marks.high.percent >= 100:
        return usable - min(headroom, marks.max_headroom)
    ratio = (100 - mark.percent) / (100 - marks.high.percent)
    return usable - min(headroom, int(marks.max_headroom * ratio))
