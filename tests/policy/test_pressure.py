import pytest
from builders import GIB, disk

from ckptd.policy import Marks
from ckptd.policy.pressure import demand, room
from ckptd.units import Share

TB = 10**12


@pytest.mark.parametrize(
    ("filesystem", "marks", "left"),
    [
        pytest.param(disk(50), Marks(), 35 * GIB, id="a share"),
        pytest.param(disk(85), Marks(), 0, id="at the mark"),
        pytest.param(disk(90), Marks(), -5 * GIB, id="past it"),
        pytest.param(disk(50), Marks(high=60 * GIB), 10 * GIB, id="bytes in use"),
        pytest.param(disk(50), Marks(high=900 * GIB), 50 * GIB, id="a mark beyond the disk"),
        pytest.param(disk(0, 100 * TB), Marks(), 100 * TB - 150 * GIB, id="headroom is bounded"),
        pytest.param(disk(0, 0), Marks(), 0, id="no size told"),
    ],
)
def test_room_ends_at_high(filesystem, marks, left):
    assert room(filesystem, marks) == left


@pytest.mark.parametrize("percent", [0, 50, 84.9, 85, 85.1, 99])
def test_there_is_room_exactly_as_long_as_nothing_is_demanded(percent):
    marks = Marks(high=Share(85))
    filesystem = disk(percent)
    assert (room(filesystem, marks) > 0) is (demand(filesystem, marks).state == "ok")
