"""Which filesystem a path lies on."""

import os
import subprocess

import pytest

from ckptd import mounts
from ckptd.mounts import Mount, Mounts


def made(*told):
    """Mounts by number, number of the one below, point and type."""
    return Mounts.of([Mount(i, parent, (0, i), point, fstype) for i, parent, point, fstype in told])


MADE = made(
    (1, 0, "/", "ext4"),
    (2, 1, "/data", "nfs4"),
    (3, 2, "/data/local", "xfs"),
    (4, 1, "/over", "nfs4"),
    (5, 1, "/hid/below", "nfs4"),
    (6, 1, "/hid", "tmpfs"),
    (7, 4, "/over", "tmpfs"),
)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/", 1),
        ("/database", 1),
        ("/data", 2),
        ("/data/a/b", 2),
        ("/data/local/a", 3),
        ("/over/a", 7),  # stacked: the upper one
        ("/hid/below/a", 6),  # hidden by what was mounted over it
    ],
)
def test_a_path_lies_on_the_mount_that_is_seen_there(path, number):
    assert MADE.at(path).id == number


def test_what_may_hang_is_told_from_what_lies_in_it_or_over_it():
    assert MADE.hanging_at("/data/a").id == 2
    assert MADE.hanging_at("/data/local").id == 2, "on the way there it is asked"
    assert MADE.hanging_at("/hid/below") is None
    assert MADE.hanging_at("/database") is None


def test_names_at_which_something_is_mounted_that_may_hang():
    assert MADE.points_in("/") == {"data", "over"}
    assert MADE.points_in("/hid") == {"below"}
    assert MADE.points_in("/data") == frozenset()


def test_a_chroot_may_hide_where_a_path_lies():
    assert made((9, 3, "/data", "nfs4")).at("/data") is None


def test_the_kernel_tells_of_each_change(tmp_path):
    here = str(tmp_path)
    before = mounts.now()
    assert mounts.now() is before, "nothing has changed, so nothing is read"
    mounted = ["mount", "-t", "tmpfs", "none", here]
    if os.geteuid() != 0 or subprocess.run(mounted, check=False).returncode:
        pytest.skip("mounts need root")
    try:
        assert mounts.now().at(f"{here}/a").point == here
    finally:
        subprocess.run(["umount", here], check=True)
    assert mounts.now().at(here).point == before.at(here).point


@pytest.mark.parametrize(
    ("fstype", "shared"),
    [
        *((name, True) for name in ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "gpfs")),
        *((name, True) for name in ("fuse", "fuse.juicefs", "fuseblk", "9p", "beegfs", "gfs2")),
        (mounts.UNKNOWN, True),
        *((name, False) for name in ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay")),
        *((name, False) for name in ("nfsd", "afsx", "somethingfs")),
    ],
)
def test_other_hosts_may_write_what_is_shared(fstype, shared):
    assert Mount(1, 0, (0, 1), "/", fstype).shared is shared
