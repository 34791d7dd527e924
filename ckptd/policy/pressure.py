"""How much a filesystem must gain, from its marks: (facts, memory) to demand."""

from __future__ import annotations

from ckptd.model import Filesystem, Relief
from ckptd.policy.settings import Marks
from ckptd.units import Share


def demand(filesystem: Filesystem, marks: Marks, *, relieving: bool) -> Relief:
    """What *filesystem* needs in bytes.

    It begins when `high` is reached and, once *relieving*, lasts until `low` is reached, so
    that a disk at its mark does not flap.
    """
    usable = filesystem.used + filesystem.free
    if usable <= 0:
        return Relief(filesystem)  # some filesystems tell no size
    high, low, hard = (_bytes_used(mark, usable, marks) for mark in _ordered(marks))
    passed = filesystem.used >= high or (relieving and filesystem.used > low)
    state = "hard" if filesystem.used >= hard else "high" if passed else "ok"
    return Relief(filesystem, state, max(0, filesystem.used - low) if passed else 0)


def _ordered(marks: Marks) -> tuple[Share | int, Share | int, Share | int]:
    return marks.high, marks.low, marks.hard


def _bytes_used(mark: Share | int, usable: int, marks: Marks) -> int:
    if isinstance(mark, int):
        return mark
    headroom = usable - mark.of(usable)
    if not isinstance(marks.high, Share) or marks.high.percent >= 100:
        return usable - headroom
    ratio = (100 - mark.percent) / (100 - marks.high.percent)
    return usable - min(headroom, int(marks.max_headroom * ratio))
