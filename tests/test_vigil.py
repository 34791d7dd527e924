"""Whoever fills a disk between two looks is noticed."""

import os
import subprocess
from dataclasses import replace

import pytest
from builders import GIB, disk

from ckptd.daemon.vigil import FASTEST, LEAST, Vigil
from ckptd.model import Relief

MIB = 2**20


def over(path, *, free, floor, inodes_free=10**6, inodes_floor=0):
    filesystem = disk(path=str(path), total=2 * free, inodes_free=inodes_free)
    return Vigil.over([Relief(filesystem, floor=floor, inodes_floor=inodes_floor)])


def test_much_room_is_looked_at_seldom_and_little_often(tmp_path):
    assert over(tmp_path, free=61 * FASTEST, floor=FASTEST).interval == pytest.approx(60)
    assert over(tmp_path, free=MIB, floor=0).interval == LEAST
    assert over(tmp_path, free=MIB, floor=9 * MIB).interval == LEAST


def test_without_a_disk_there_is_nothing_to_watch():
    vigil = Vigil.over([Relief(disk(limit="capacity"))])
    assert (vigil.interval, vigil.is_broken()) == (float("inf"), False)


def under_a_limit(*, free, floor, total=GIB):
    """The vigil over a limit on a disk of 100 GiB with half of it free."""
    part = replace(disk(), limit="capacity", total=total, used=total - free, free=free)
    return Vigil.over([Relief(disk()), Relief(part, floor=floor)])


@pytest.mark.parametrize(
    ("free", "floor", "room"),
    [
        pytest.param(200 * MIB, 50 * MIB, 150 * MIB, id="as much as it has above its floor"),
        pytest.param(40 * MIB, 50 * MIB, 20 * MIB, id="half of what is left below it"),
        pytest.param(0, 50 * MIB, GIB // 100, id="a hundredth where nothing is left"),
    ],
)
def test_of_a_limit_all_that_the_disk_loses_counts(free, floor, room):
    (_, of_limit) = under_a_limit(free=free, floor=floor).floors
    assert of_limit.bytes == disk().free - room


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_it_breaks_when_less_is_free_than_the_look_allowed(tmp_path):
    options = "size=64m,nr_inodes=100"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(tmp_path)], check=True)
    try:
        kept = over(tmp_path, free=64 * MIB, floor=32 * MIB, inodes_free=99, inodes_floor=50)
        # More is demanded than may go already: only a further fall is news.
        short = over(tmp_path, free=64 * MIB, floor=90 * MIB)
        assert (kept.is_broken(), short.is_broken()) == (False, False)
        (tmp_path / "first").write_bytes(bytes(33 * MIB))
        assert (kept.is_broken(), short.is_broken()) == (True, True)
        (tmp_path / "first").unlink()
        assert not kept.is_broken()
        for number in range(60):
            (tmp_path / str(number)).touch()
        assert kept.is_broken()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
