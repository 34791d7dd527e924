import os
import subprocess
from contextlib import contextmanager

import pytest

from ckptd import disk
from ckptd.errors import UnreadableError

ROOT = os.geteuid() == 0


@contextmanager
def mounted(fstype, point, *options):
    point.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", fstype, *options, "nobody", str(point)]
    if not ROOT or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"mounting a {fstype} needs root")
    try:
        yield str(point)
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_measures_what_df_measures(tmp_path):
    told = subprocess.run(
        ["df", "-B1", "--output=size,used,avail,itotal,target,fstype", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    total, used, _, inodes, mount, fstype = told.stdout.splitlines()[1].split()
    measured = disk.measure(str(tmp_path))
    assert (measured.total, measured.mount, measured.fstype) == (int(total), mount, fstype)
    assert measured.inodes_total == int(inodes)
    assert measured.used == pytest.approx(int(used), abs=2**30)  # others write meanwhile
    assert measured.path == str(tmp_path)


def test_free_is_what_an_ordinary_user_may_write():
    room = os.statvfs("/")
    measured = disk.measure("/")
    assert measured.free == pytest.approx(room.f_bavail * room.f_frsize, abs=2**30)
    assert measured.used + measured.free <= measured.total
    assert disk.free("/")[0] == pytest.approx(measured.free, abs=2**30)


def test_a_path_that_does_not_exist_yet_is_measured_by_its_nearest_ancestor(tmp_path):
    missing = str(tmp_path / "not" / "yet")
    measured = disk.measure(missing)
    assert measured.path == missing
    assert measured.mount == disk.measure(str(tmp_path)).mount
    assert disk.free(missing)[0] > 0


def test_below_a_file_and_behind_a_dangling_link_is_not_yet_either(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    here = disk.measure(str(tmp_path)).mount
    assert disk.measure(str(tmp_path / "file" / "below")).mount == here
    assert disk.measure(str(tmp_path / "link")).mount == here


def test_what_the_system_does_not_say_is_unreadable_and_never_empty(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for ask in (disk.measure, disk.free, disk.events_arrive):
        with pytest.raises(UnreadableError, match=r"cannot be measured: Too many levels"):
            ask(str(tmp_path / "loop"))


def test_measuring_leaves_no_descriptor_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        disk.measure(str(tmp_path))
        disk.events_arrive(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.root
def test_a_mount_with_a_strange_name_is_found_behind_a_link(tmp_path):
    with mounted("tmpfs", tmp_path / "a b\\c\td", "-o", "size=1m") as point:
        (tmp_path / "link").symlink_to(point)
        measured = disk.measure(str(tmp_path / "link" / "not yet"))
    assert (measured.mount, measured.fstype, measured.total) == (point, "tmpfs", 2**20)


@pytest.mark.root
def test_the_upper_of_two_stacked_mounts_is_measured(tmp_path):
    with (
        mounted("tmpfs", tmp_path / "disk", "-o", "size=1m"),
        mounted("tmpfs", tmp_path / "disk", "-o", "size=2m") as point,
    ):
        assert disk.measure(point).total == 2 * 2**20


@pytest.mark.root
def test_events_of_an_overlay_are_polled_as_well(tmp_path):
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    layers = ",".join(
        f"{name}dir={tmp_path / name.removesuffix('dir')}" for name in ("lower", "upper", "work")
    )
    with mounted("overlay", tmp_path / "merged", "-o", layers) as point:
        assert disk.events_arrive(point) == "both"
        assert not disk.measure(point).shared


@pytest.mark.root
def test_events_of_a_local_filesystem_arrive(tmp_path):
    with mounted("tmpfs", tmp_path / "local") as point:
        assert disk.events_arrive(point) == "inotify"
        assert not disk.measure(point).shared
