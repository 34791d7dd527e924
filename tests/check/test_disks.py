"""What is asked of a disk, against what is there: values in, checks out."""

import pytest
from builders import GIB, disk

from ckptd import check
from ckptd.check import Wanted
from ckptd.policy import Marks
from ckptd.units import Share


def checks(filesystem, max_used=None, need=0, promised=0, paths=("/data/a b",)):
    wanted = Wanted(None if max_used is None else Share(max_used), need, lambda *_: promised, paths)
    return {c.name: c for c in check.disk(filesystem, Marks(), wanted)}


def states(*asked, **how):
    return {name: str(c.state) for name, c in checks(*asked, **how).items()}


@pytest.mark.parametrize(
    ("used", "max_used", "state"),
    [
        (79.9, 80, "ok"),
        (80, 80, "ok"),
        (80.1, 80, "failed"),
        (84.9, None, "ok"),
        (85, None, "failed"),
        (100, 100, "ok"),
        (0, 0, "ok"),
    ],
)
def test_used_at_most_so_much(used, max_used, state):
    assert states(disk(used), max_used)["used"] == state


@pytest.mark.parametrize(("need", "state"), [(20 * GIB, "ok"), (20 * GIB + 1, "failed")])
def test_at_least_so_much_free(need, state):
    assert states(disk(80), need=need)["need"] == state


def test_what_is_not_asked_for_is_not_checked():
    assert set(states(disk(50))) == {"used", "inodes"}


@pytest.mark.parametrize(("free", "state"), [(1000, "ok"), (999, "failed"), (0, "failed")])
def test_a_save_needs_inodes(free, state):
    assert states(disk(50, inodes_free=free))["inodes"] == state


def test_a_filesystem_without_a_fixed_number_of_inodes_is_not_short_of_them():
    assert "inodes" not in states(disk(50, inodes_total=0, inodes_free=0))


def test_a_filesystem_that_tells_no_size_is_a_warning():
    assert states(disk(0, 0), 80, 20 * GIB) == {"used": "warning"}


def test_what_the_policy_frees_is_told_with_the_command():
    text = checks(disk(90), need=20 * GIB, promised=10 * GIB)["need"].text
    assert text == (
        "/data (ext4) has 10.0 GiB that users can fill: 10.0 GiB less than the 20.0 GiB needed; "
        "its policy can free them: ckptd apply --high 81920MiB --low 81919MiB '/data/a b'"
    )


def test_what_the_policy_frees_of_it_is_told_with_what_is_left_to_do():
    text = checks(disk(90), need=20 * GIB, promised=4 * GIB)["need"].text
    assert "4.0 GiB of it can be freed by its policy: ckptd apply --high" in text
    assert text.endswith("the rest by hand or on another disk")


def test_a_policy_that_frees_nothing_names_no_command():
    assert "ckptd apply" not in checks(disk(90), need=20 * GIB)["need"].text


def test_too_full_wins_over_what_cannot_be_used():
    full = checks(disk(90))["used"]
    lost = check.Check("watch", "/data", check.State.FAILED, "it cannot be read")
    fine = check.Check("watch", "/data", check.State.WARNING, "it is slow")
    assert [check.status(c) for c in ((fine,), (fine, lost), (lost, full, fine))] == [0, 4, 5]


def test_more_directories_than_watches_is_a_warning():
    from ckptd.check.limits import watches

    assert [str(watches(n, 8192).state) for n in (8192, 8193)] == ["ok", "warning"]
