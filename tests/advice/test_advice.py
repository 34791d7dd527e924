"""Numbers worked out by hand, and what a trainer would do with them, save by save."""

from math import inf

import pytest
from builders import GIB, NOW, ck, disk, run
from hypothesis import given
from hypothesis import strategies as st

from ckptd.advice import Place, advise, forecast
from ckptd.model import Part, Role, Saved
from ckptd.policy import Marks
from ckptd.policy.foresight import full_in

MINUTE = 60
# 100 GiB, 40 of them used: 45 are left below the high mark of 85 %.
DISK = disk(40)
WRITING = "and one save being written before the oldest goes"


def saved(checkpoints, *, every=6 * MINUTE):
    """What is known of *checkpoints*: the last was saved now, *every* seconds between two."""
    back = range(len(checkpoints) - 1, -1, -1)
    return tuple(
        Saved(c.name, c.step, c.bytes, NOW.timestamp() - n * every)
        for c, n in zip(checkpoints, back, strict=True)
    )


def a_run(*gib, path="/data/a", every=6 * MINUTE, best=False, **fields):
    """A run with saves of these sizes, 50 steps apart, and what is known of them."""
    metrics = {"recorded_best": "checkpoint-50"} if best else {}
    steps = range(50, 50 * len(gib) + 1, 50)
    checkpoints = [
        ck(step, bytes=int(size * GIB), **metrics) for step, size in zip(steps, gib, strict=True)
    ]
    return run(*checkpoints, path=path, saves=saved(checkpoints, every=every), **fields)


def advice(*runs, filesystem=DISK, **marks):
    """The advice on the first of *runs*, all on one filesystem."""
    return advise(Place(filesystem, Marks(**marks), runs), NOW.timestamp())[0]


@pytest.mark.parametrize(
    ("runs", "limit", "keep_last"),
    [
        # 45 + 4 = 49 GiB are for checkpoints; 12 kept and 1 being written are 52, 11 and 1 are 48.
        pytest.param([a_run(4)], 11, 11, id="one save"),
        # 45 + 20 = 65 GiB: 15 kept and 1 being written are 64.
        pytest.param([a_run(4, 4, 4, 4, 4)], 15, 15, id="what lies there makes room"),
        # The trainer's best is one of its 15, ckptd's comes on top.
        pytest.param([a_run(4, 4, 4, 4, 4, best=True)], 15, 14, id="with a best one"),
        # 45 + 4 + 3 = 52 GiB, and 5.5 GiB a round: 8 kept and 1 being written are 49.5.
        pytest.param([a_run(4), a_run(1.5, 1.5, path="/data/b", live=True)], 8, 8, id="two runs"),
        # 45 + 4 + 6 = 55 GiB less 3 x 3 GiB that the other takes: 46 are 11 saves.
        pytest.param(
            [a_run(4), a_run(3, 3, path="/data/b", live=True, trainer_limit=2)],
            10,
            10,
            id="the other keeps to its own limit",
        ),
        # The other run is over: what it holds is used space like any other.
        pytest.param([a_run(4), a_run(3, path="/data/b", every=0)], 11, 11, id="one that is over"),
        # 45 + 25 = 70 GiB; older saves are larger by 9 and 9 GiB.
        pytest.param([a_run(10, 10, 1, 1, 1)], 49, 49, id="older saves are larger"),
        pytest.param([a_run(40)], 1, 1, id="twice just fits"),
        pytest.param([a_run(46)], None, None, id="twice does not fit"),
        pytest.param([a_run(22, best=True)], 2, 1, id="three times with the best"),
        pytest.param([a_run(24, best=True)], None, None, id="three times does not fit"),
    ],
)
def test_the_largest_limit_worked_out_by_hand(runs, limit, keep_last):
    found = advice(*runs)
    assert (found.save_total_limit, found.keep_last) == (limit, keep_last)


@pytest.mark.parametrize(
    ("gib", "every", "steps"),
    [
        # 7.2 s a step, 12000 in 24 h; 45 GiB hold 11 saves: 1091 steps between two.
        pytest.param(4, 6 * MINUTE, 1100, id="rounded up"),
        # 12000 steps / 45 saves = 267.
        pytest.param(1, 6 * MINUTE, 270, id="smaller saves"),
        # 240 saves of 128 MiB are 30 GiB.
        pytest.param(0.125, 6 * MINUTE, 50, id="fits as it is"),
        # 72 s a step, 1200 in 24 h; 24 saves at 50 steps, and 45 fit.
        pytest.param(1, 60 * MINUTE, 50, id="a slow training"),
        pytest.param(46, 6 * MINUTE, None, id="not even one more"),
    ],
)
def test_save_steps_worked_out_by_hand(gib, every, steps):
    assert advice(a_run(gib, gib, every=every)).save_steps == steps


def test_save_steps_share_the_room_by_what_each_run_writes():
    # 1 and 2 GiB every 6 min: a third of 45 GiB is for the first, 15 saves, 12000 / 15 = 800.
    assert advice(a_run(1, 1), a_run(2, 2, path="/data/b")).save_steps == 800


def test_forecast_counts_all_runs_under_way_together():
    # 60 GiB are free; 1 + 2 GiB every 6 min are 30 GiB an hour.
    runs = (a_run(1, 1), a_run(2, 2, path="/data/b"), a_run(9, 9, path="/data/over", every=0))
    found = forecast(Place(DISK, Marks(), runs), NOW.timestamp())
    assert (found.under_way, found.bytes_per_hour) == (2, 30 * GIB)
    assert found.full_in_seconds == pytest.approx(2 * 3600)


def test_a_run_that_its_trainer_rotates_fills_nothing():
    runs = (a_run(1, 1, trainer_limit=2),)
    assert forecast(Place(DISK, Marks(), runs), NOW.timestamp()).full_in_seconds is None


@pytest.mark.parametrize(
    ("free", "growths", "seconds"),
    [
        (100, [], None),
        (100, [(0.0, inf)], None),
        (100, [(2.0, inf)], 50),
        (100, [(2.0, inf), (3.0, inf)], 20),
        (100, [(2.0, 60.0)], None),
        # Both for 10 s, then the first alone: 50, then 50 at 2 a second.
        (100, [(2.0, inf), (3.0, 30.0)], 35),
        (0, [(2.0, inf)], 0),
        (-5, [(2.0, inf)], 0),
    ],
)
def test_full_when_all_growths_together_have_written_what_is_free(free, growths, seconds):
    assert full_in(free, growths) == (None if seconds is None else pytest.approx(seconds))


def test_a_run_without_a_whole_save_gets_one_sentence():
    found = advice(run(ck(50, health="broken")))
    assert found.sentences == (
        "no whole save is known of /data/a (none of its 1 is whole), so nothing can be measured",
    )
    assert (found.rhythm, found.arithmetic) == (None, ())


def test_a_run_with_one_save_is_told_that_it_has_no_rhythm_yet():
    found = advice(a_run(4))
    assert found.sentences == ("one save is known of /data/a: it has no rhythm before its second",)
    assert (found.save_steps, found.full_in_seconds) == (None, None)


def test_saves_copied_in_one_go_have_no_rhythm():
    found = advice(a_run(4, 4, 4, every=0))
    assert found.sentences == (
        "the 3 saves of /data/a bear the same time (copied?), so they have no rhythm",
    )


def test_what_is_too_big_is_told_with_the_size_of_smaller_saves():
    parts = (Part(Role.WEIGHTS, ("w",), 16 * GIB), Part(Role.OPTIMIZER, ("o",), 30 * GIB))
    checkpoint = ck(50, bytes=46 * GIB, parts=parts)
    found = advice(run(checkpoint, saves=saved([checkpoint])))
    assert found.sentences[0] == (
        "the disk is too small: a training needs 2 saves at once (the newest and the one being "
        "written), 2 x 46.0 GiB = 92.0 GiB, and there are 91.0 GiB up to the high mark; "
        "save_only_model=True makes a save 16.0 GiB (no resuming), or save to another disk"
    )


def test_runs_that_are_too_big_together_only_are_told_so():
    found = advice(a_run(30), a_run(30, path="/data/b", live=True))
    assert (
        "with what the other run under way needs that is 120 GiB, and there are 105 GiB"
        in found.sentences[0]
    )


def test_a_limit_that_comes_too_late_is_told_with_what_to_let_go_first():
    # 5 GiB are left and a save takes 10: the limit of 3 acts only after the next one.
    found = advice(a_run(10, 10, 10, 10), filesystem=disk(80))
    assert found.save_total_limit == 3
    assert "ckptd apply --keep-last 3 --trash-for 0s /data/a" in found.sentences[0]


def test_a_filesystem_that_tells_no_size_gets_no_numbers():
    found = advice(a_run(4), filesystem=disk(0, 0))
    assert found.sentences == ("/data does not tell its size, so nothing fits for sure",)


def test_the_arithmetic_can_be_checked_line_by_line():
    found = advice(a_run(4, 4, best=True))
    assert found.arithmetic == (
        "60.0 GiB are free for users, 45.0 GiB of them below the high mark (85%)",
        "the checkpoints of this run hold 8.0 GiB: 45.0 GiB + 8.0 GiB = 53.0 GiB for all of them",
        f"save_total_limit = 12, {WRITING}: 13 x 4.0 GiB = 52.0 GiB of 53.0 GiB",
        "save_total_limit = 13 needs 56.0 GiB: 3.0 GiB too much",
        f"keep_last (the best on top) = 11, {WRITING}: 13 x 4.0 GiB = 52.0 GiB of 53.0 GiB",
        "keep_last (the best on top) = 12 needs 56.0 GiB: 3.0 GiB too much",
        "45.0 GiB hold 11 more saves of 4.0 GiB; 24 h are 12000 steps at 7.2 s each",
        "12000 steps / 11 saves = 1091 steps between two, rounded up to 1100",
    )


# --- played as a trainer would -----------------------------------------------------------


def rotated(sizes, best, limit):
    """What is left after rotation: the newest and the best are never taken (trainer_utils.py)."""
    protected = {len(sizes) - 1} | ({best} if best is not None else set())
    keep, left = max(limit, len(protected)), list(range(len(sizes)))
    for index in range(len(sizes)):
        if len(left) > keep and index not in protected:
            left.remove(index)
    return [sizes[i] for i in left], left.index(best) if best is not None else None


def most_used(sizes, size, best, limit, rounds):
    """The most bytes that *rounds* more saves take when each is written before one goes.

    The best one stays the oldest there is: no other choice takes more.
    """
    sizes, best = rotated(sizes, 0 if best else None, limit)
    peak = 0
    for _ in range(rounds):
        sizes = [*sizes, size]
        peak = max(peak, sum(sizes))
        sizes, best = rotated(sizes, best, limit)
    return peak


sizes = st.lists(st.integers(1, 30), min_size=1, max_size=8)


@given(old=sizes, size=st.integers(1, 30), used=st.integers(0, 70), best=st.booleans())
def test_the_advised_limit_fits_save_by_save(old, size, used, best):
    gib = (*old, size)
    found = advice(a_run(*gib, best=best), filesystem=disk(used))
    room = 85 * GIB - DISK.total * used // 100 + sum(gib) * GIB
    if limit := found.save_total_limit:
        written = found.rhythm.bytes // GIB
        assert most_used(gib, written, best, limit, 3 * limit) * GIB <= room


@given(
    count=st.integers(1, 8), size=st.integers(1, 30), used=st.integers(0, 70), best=st.booleans()
)
def test_one_more_than_the_advised_limit_does_not_fit(count, size, used, best):
    gib = [size] * count
    found = advice(a_run(*gib, best=best), filesystem=disk(used))
    room = 85 * GIB - DISK.total * used // 100 + sum(gib) * GIB
    limit = (found.save_total_limit or 0) + 1
    assert most_used(gib, size, best, limit, 2 * limit + 2) * GIB > room


@given(gib=st.integers(1, 20), used=st.integers(0, 70), every=st.integers(60, 7200))
def test_every_save_of_a_day_fits_with_the_advised_save_steps(gib, used, every):
    found = advice(a_run(gib, gib, every=every), filesystem=disk(used))
    if found.save_steps:
        saves = -(-(24 * 3600 / found.rhythm.seconds_per_step) // found.save_steps)
        assert used + saves * gib <= 85
