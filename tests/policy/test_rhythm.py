import pytest

from ckptd.model import Saved
from ckptd.policy.rhythm import rhythm

MIB = 2**20


def saves(*several):
    """Saves as (step, MiB, minute)."""
    return [
        Saved(f"checkpoint-{s}", s, int(size * MIB), minute * 60) for s, size, minute in several
    ]


def measured(*several):
    found = rhythm(saves(*several))
    return found.bytes / MIB, found.steps, found.seconds, found.seconds_per_step


def test_without_saves_there_is_no_rhythm():
    assert rhythm([]) is None


def test_one_save_has_a_size_and_no_rhythm():
    found = rhythm(saves((50, 7, 0)))
    assert (found.bytes, found.count, found.bytes_per_hour) == (7 * MIB, 1, 0)
    assert (found.seconds, found.steps, found.seconds_per_step) == (None, None, None)


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        pytest.param([(50, 7, 0), (100, 7, 6)], (7, 50, 360, 7.2), id="two"),
        pytest.param(
            [(50, 7, 0), (100, 7, 6), (150, 7, 12), (200, 7, 600), (250, 7, 606)],
            (7, 50, 360, 7.2),
            id="a night between two of them",
        ),
        pytest.param(
            [(50, 7, 0), (950, 7, 108), (1000, 7, 114)],
            (7, 50, 360, 7.2),
            id="the best one and the last two",
        ),
        pytest.param(
            [(50, 7, 0), (100, 7, 6), (150, 7, 12), (173, 7, 15)],
            (7, 50, 360, 7.2),
            id="the last save of a training comes early",
        ),
        pytest.param(
            [(100, 7, 0), (150, 7, 6), (50, 7, 60), (100, 7, 66)],
            (7, 50, 360, 7.2),
            id="begun anew in the same directory",
        ),
        pytest.param([(None, 7, 0), (None, 7, 6)], (7, None, 360, None), id="no steps"),
        pytest.param([(50, 7, 3), (100, 7, 3)], (7, None, None, None), id="copied in one go"),
    ],
)
def test_the_lower_median_of_the_last_gaps_counts(several, expected):
    assert measured(*several) == pytest.approx(expected)


def test_old_gaps_do_not_count():
    slow = [(n, 7, n * 10) for n in range(20)]
    fast = [(20 + n, 7, 200 + n) for n in range(11)]
    assert rhythm(saves(*slow, *fast)).seconds == 60


def test_after_a_change_of_size_the_newest_count():
    found = rhythm(saves((50, 1, 0), (100, 1, 6), (150, 40, 12)))
    assert (found.bytes, found.bytes_before) == (40 * MIB, MIB)


def test_of_saves_alike_the_largest_of_the_last_three_counts():
    found = rhythm(saves((50, 10.5, 0), (100, 10.2, 6), (150, 10.1, 12), (200, 10, 18)))
    assert (found.bytes / MIB, found.bytes_before) == (pytest.approx(10.2, abs=1e-6), None)


@pytest.mark.parametrize(
    ("sizes", "next_", "before"),
    [
        pytest.param([1, 40, 1, 40, 1], 40, None, id="every other save is large"),
        pytest.param([1, 1, 40, 1, 1, 1], 40, None, id="one was"),
        pytest.param([40, 40, 1, 1], 1, 40, id="they have become small"),
        pytest.param([1, *[40] * 3, 1, 1], 40, None, id="it was large for a while"),
        pytest.param([1, 40, *[1] * 12], 1, 40, id="long ago"),
    ],
)
def test_a_large_save_that_came_between_small_ones_comes_again(sizes, next_, before):
    found = rhythm(saves(*[(n, size, n) for n, size in enumerate(sizes)]))
    assert (found.bytes, found.bytes_before) == (next_ * MIB, before and before * MIB)


def test_bytes_per_hour_are_saves_an_hour_by_their_size():
    assert rhythm(saves((50, 7, 0), (100, 7, 6))).bytes_per_hour == 70 * MIB
