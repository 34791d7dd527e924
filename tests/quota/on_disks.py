"""Quotas on real ext4 and XFS filesystems: what we say, and then what a writer gets.

For root under a kernel that has quotas, so test_quota.py starts this.
"""

import ctypes
import itertools
import os
import shutil
import struct
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from corpus import write_checkpoint
from house import ckptd, names, planned

from ckptd import quota
from ckptd.quota import Quota, quotas
from ckptd.units import DAY

MIB = 2**20
SETINFO, SETQUOTA = 0x800006, 0x800008
LIMITS, GRACE = 1 | 4, 1 | 2  # which fields are meant: QIF_LIMITS, IIF_BGRACE | IIF_IGRACE
KINDS = {"user": 0, "group": 1}
MAKE = {"ext4": ["mkfs.ext4", "-q", "-O", "quota"], "xfs": ["mkfs.xfs", "-q"]}
ENFORCED = {"ext4": "usrquota,grpquota", "xfs": "uquota,gquota"}
ONLY_COUNTED = {"ext4": "noquota", "xfs": "uqnoenforce,gqnoenforce"}


class Disk:
    """A mounted filesystem that all may write to, a user nobody has limited, root's setquota."""

    numbers = itertools.count(4321)

    def __init__(self, fstype, point, device):
        self.fstype, self.point, self.device = fstype, point, device
        self.uid, self.gid, self.other = itertools.islice(self.numbers, 3)

    def number(self, whose):
        return {"user": self.uid, "group": self.gid}[whose]

    def call(self, command, kind, number, *fields):
        """quotactl(2) by the device, laid out by hand: not the way the code under test goes."""
        libc = ctypes.CDLL(None, use_errno=True)
        code = ctypes.c_uint32(command << 8 | KINDS[kind])
        packed = ctypes.create_string_buffer(struct.pack(*fields), 128)
        if libc.quotactl(code, self.device.encode(), number, packed):
            raise OSError(ctypes.get_errno(), f"quotactl {command:#x}")

    def limit(self, kind, number, *, hard=0, soft=0, files=0, soft_files=0):
        """Bytes and files; 0 lifts a limit."""
        blocks = (hard // 1024, soft // 1024, 0, files, soft_files)
        self.call(SETQUOTA, kind, number, "8QI", *blocks, 0, 0, 0, LIMITS)

    def grace(self, kind, seconds):
        self.call(SETINFO, kind, 0, "2QII", seconds, seconds, 0, GRACE)

    def ask(self, **options):
        return quotas(str(self.point), self.uid, self.gid, **options)

    def write(self, size):
        """Appends up to *size* as that user: the bytes there are then, and why no more."""
        # XFS begins to count a grace time with what reaches the disk.
        big = self.point / f"big-{self.uid}"
        command = [
            "dd",
            "if=/dev/zero",
            f"of={big.name}",
            "bs=64k",
            "oflag=append",
            "conv=notrunc,fsync",
        ]
        done = self._by_user([*command, f"count={size // 65536}"])
        return big.stat().st_size, done.stderr

    def make(self, count):
        """How many of *count* files the user can make, and why no more."""
        here = Path(tempfile.mkdtemp(dir=self.point))
        here.chmod(0o777)
        done = self._by_user(["touch", *(f"{here.name}/{n}" for n in range(count))])
        return len(list(here.iterdir())), done.stderr

    def _by_user(self, command):
        return subprocess.run(
            command,
            cwd=self.point,
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            env=os.environ | {"LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def mounted(fstype, image, point, options):
    loop = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        subprocess.run(["mount", "-t", fstype, "-o", options, loop, point], check=True)
        point.chmod(0o777)
        try:
            yield Disk(fstype, point, loop)
        finally:
            subprocess.run(["umount", point], check=True)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)


@pytest.fixture(scope="module")
def place():
    """A directory that others can reach; what lies in it is in memory."""
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=80%", "none", top], check=True)
    yield top
    subprocess.run(["umount", top], check=True)
    top.rmdir()


def made(fstype, place):
    """An image and a mount point of a small filesystem."""
    place = Path(tempfile.mkdtemp(dir=place))
    place.chmod(0o755)
    image, point = place / "image", place / fstype
    image.touch()
    os.truncate(image, 320 * MIB)
    point.mkdir()
    subprocess.run([*MAKE[fstype], image], check=True)
    return image, point


@pytest.fixture(scope="module", params=["ext4", "xfs"])
def shared(request, place):
    fstype = request.param
    image, point = made(fstype, place)
    with mounted(fstype, image, point, ENFORCED[fstype]) as disk:
        yield disk


@pytest.fixture
def disk(shared):
    return Disk(shared.fstype, shared.point, shared.device)


@pytest.fixture(params=["user", "group"])
def whose(request):
    return request.param


def test_what_is_said_to_be_free_can_be_written_and_no_more(disk, whose):
    disk.write(3 * MIB)
    disk.limit(whose, disk.number(whose), hard=8 * MIB)
    (before,) = disk.ask()
    assert (before.whose, before.id) == (whose, disk.number(whose))
    assert (before.bytes_limit, before.inodes_limit) == (8 * MIB, None)
    assert before.bytes_used == pytest.approx(3 * MIB, abs=MIB // 4)
    assert (before.bytes_free, before.inodes_free) == (8 * MIB - before.bytes_used, None)

    size, why = disk.write(20 * MIB)

    assert "Disk quota exceeded" in why
    assert size - 3 * MIB == pytest.approx(before.bytes_free, abs=MIB // 4)
    (after,) = disk.ask()
    assert after.bytes_free < MIB // 4
    assert os.statvfs(disk.point).f_bavail * os.statvfs(disk.point).f_frsize > 100 * MIB


def test_as_many_files_can_be_made_as_are_said_to_be_free(disk, whose):
    disk.write(MIB)
    disk.limit(whose, disk.number(whose), files=25)
    (before,) = disk.ask()
    assert before == Quota(whose, disk.number(whose), None, before.bytes_used, 25, 1)
    assert (before.bytes_free, before.inodes_free) == (None, 24)

    made, why = disk.make(50)

    assert "Disk quota exceeded" in why
    assert made == before.inodes_free
    (after,) = disk.ask()
    assert (after.inodes_used, after.inodes_free) == (25, 0)


def test_a_limit_below_what_is_used_leaves_nothing(disk):
    disk.write(4 * MIB)
    disk.limit("user", disk.uid, hard=MIB)
    (quota,) = disk.ask()
    assert quota.bytes_used >= 4 * MIB
    assert (quota.bytes_limit, quota.bytes_free) == (MIB, 0)
    assert "Disk quota exceeded" in disk.write(MIB)[1]


def test_user_and_group_are_limited_each(disk):
    disk.limit("user", disk.uid, hard=8 * MIB)
    disk.limit("group", disk.gid, hard=6 * MIB, files=9)
    assert [(q.whose, q.bytes_limit, q.inodes_limit) for q in disk.ask()] == [
        ("user", 8 * MIB, None),
        ("group", 6 * MIB, 9),
    ]
    assert [q.whose for q in quotas(str(disk.point), disk.other, disk.gid)] == ["group"]


def test_limits_beyond_four_tebibytes_are_whole(disk):
    disk.limit("user", disk.uid, hard=5 * 2**40 + 2**20)
    assert [quota.bytes_limit for quota in disk.ask()] == [5 * 2**40 + 2**20]


def test_a_path_that_does_not_exist_yet_is_asked_for_by_its_nearest_ancestor(disk):
    disk.limit("user", disk.uid, hard=8 * MIB)
    assert quotas(f"{disk.point}/not/yet", disk.uid, disk.gid) == disk.ask()
    assert disk.ask() != ()


def test_who_has_no_limit_is_told_none(disk):
    disk.write(MIB)
    disk.limit("user", disk.other, hard=MIB)
    assert disk.ask() == ()
    disk.limit("user", disk.uid, hard=MIB)
    assert disk.ask() != ()
    disk.limit("user", disk.uid)
    assert disk.ask() == ()


def test_a_soft_limit_does_not_count_while_its_grace_time_is_long(disk, whose):
    disk.grace(whose, 7 * DAY)
    disk.limit(whose, disk.number(whose), soft=2 * MIB, soft_files=5)
    assert disk.ask() == ()
    (due,) = disk.ask(ahead=8 * DAY)
    assert (due.bytes_limit, due.inodes_limit) == (2 * MIB, 5)

    assert disk.write(4 * MIB)[0] == 4 * MIB  # now the time runs
    assert disk.ask() == ()
    assert disk.ask(ahead=6.9 * DAY) == ()
    (due,) = disk.ask(ahead=7.1 * DAY)
    assert (due.bytes_limit, due.bytes_free, due.inodes_limit) == (2 * MIB, 0, 5)


def test_beside_a_soft_limit_that_does_not_count_the_hard_one_does(disk):
    disk.grace("user", 7 * DAY)
    disk.limit("user", disk.uid, soft=2 * MIB, hard=8 * MIB)
    assert [quota.bytes_limit for quota in disk.ask()] == [8 * MIB]


def test_a_soft_limit_whose_grace_time_is_over_is_refused_and_said_to_be(disk):
    disk.grace("user", 1)
    disk.limit("user", disk.uid, soft=2 * MIB, hard=8 * MIB)
    (before,) = disk.ask(ahead=1)  # the time does not run yet, but is too short to count on
    assert before.bytes_limit == 2 * MIB
    assert disk.write(3 * MIB)[0] == 3 * MIB
    time.sleep(2.5)

    size, why = disk.write(MIB)

    assert (size, "Disk quota exceeded" in why) == (3 * MIB, True)
    (after,) = disk.ask(ahead=0)
    assert (after.bytes_limit, after.bytes_free) == (2 * MIB, 0)


@pytest.mark.parametrize("fstype", ["ext4", "xfs"])
def test_limits_that_are_not_enforced_are_none(fstype, place):
    image, point = made(fstype, place)
    with mounted(fstype, image, point, ENFORCED[fstype]) as disk:
        disk.limit("user", disk.uid, hard=MIB)
        disk.limit("group", disk.gid, hard=MIB)
        assert len(disk.ask()) == 2
        limited = disk
    with mounted(fstype, image, point, ONLY_COUNTED[fstype]):
        assert limited.ask() == ()
        assert limited.write(3 * MIB)[0] == 3 * MIB
    with mounted(fstype, image, point, "noquota"):
        assert limited.ask() == ()


def test_where_we_may_not_write_nothing_is_said(disk):
    disk.limit("user", disk.uid, hard=MIB)
    closed = Path(tempfile.mkdtemp(dir=disk.point))
    subprocess.run(["mount", "-o", "bind,ro", disk.point, closed], check=True)
    try:
        assert quotas(str(closed), disk.uid, disk.gid) == ()
    finally:
        subprocess.run(["umount", closed], check=True)
    assert disk.ask() != ()


def test_nothing_that_is_set_for_root_limits_it(disk):
    disk.uid = disk.gid = 0
    disk.limit("user", 0, hard=MIB)
    disk.limit("group", 0, hard=MIB)
    told, (size, _) = disk.ask(), disk.write(3 * MIB)
    disk.limit("user", 0)
    disk.limit("group", 0)
    assert (told, size) == ((), 3 * MIB)


@pytest.mark.parametrize("shared", ["xfs"], indirect=True)
def test_the_defaults_of_xfs_limit_whoever_has_written_once(disk):
    disk.limit("user", 0, hard=8 * MIB)
    disk.write(MIB)
    told = disk.ask()
    disk.limit("user", 0)
    assert [(q.id, q.bytes_limit) for q in told] == [(disk.uid, 8 * MIB)]


@contextmanager
def acting_as(uid, gid):
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_user_is_told_their_own_and_nothing_of_others(disk):
    for whose, number in itertools.product(("user", "group"), (disk.uid, disk.gid, disk.other)):
        disk.limit(whose, number, hard=8 * MIB)
    others = (str(disk.point), disk.other, disk.other)
    assert len(quotas(*others)) == 2
    with acting_as(disk.uid, disk.gid):
        assert [quota.id for quota in disk.ask()] == [disk.uid, disk.gid]
        assert quotas(*others) == ()


def test_before_quotactl_fd_the_device_is_asked_with_the_same_answer(disk, monkeypatch):
    disk.write(MIB)
    disk.limit("user", disk.uid, hard=8 * MIB, files=9)
    disk.limit("group", disk.gid, soft=MIB, hard=5 * MIB)
    told = disk.ask()
    monkeypatch.setattr(quota, "_by_descriptor", lambda: False)
    with named_by_number(disk):
        assert disk.ask() == told
    assert [q.bytes_limit for q in told] == [8 * MIB, 5 * MIB]


@contextmanager
def named_by_number(disk):
    """What udev makes of every disk, where there is no udev."""
    device = os.stat(disk.device).st_rdev
    name = Path(f"/dev/block/{os.major(device)}:{os.minor(device)}")
    if name.exists():
        yield
        return
    name.parent.mkdir(exist_ok=True)
    name.symlink_to(disk.device)
    yield
    name.unlink()


def test_the_numbers_are_those_of_repquota(disk):
    if not shutil.which("repquota"):
        pytest.skip("repquota is not installed")
    disk.write(3 * MIB)
    disk.make(5)
    disk.limit("user", disk.uid, hard=8 * MIB, files=100)
    command = ["repquota", "--raw-grace", "--no-names", "--user", disk.point]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (line,) = (line.split() for line in told.splitlines() if line.startswith(f"#{disk.uid} "))
    used, _, hard, _, files, _, hard_files, _ = map(int, line[2:])
    (ours,) = disk.ask()
    assert (ours.bytes_used // 1024, ours.bytes_limit // 1024) == (used, hard)
    assert (ours.inodes_used, ours.inodes_limit) == (files, hard_files)


def test_an_overlay_is_not_seen_to_be_limited_as_its_upper_layer_is(disk, place):
    disk.limit("user", disk.uid, hard=MIB)
    for name in ("lower", "upper", "work"):
        (disk.point / name).mkdir(mode=0o777)
    (disk.point / "upper").chmod(0o777)
    layers = ",".join(f"{name}dir={disk.point}/{name}" for name in ("lower", "upper", "work"))
    merged = place / f"merged-{disk.fstype}"
    merged.mkdir()
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "none", merged], check=True)
    try:
        disk.point = merged
        assert disk.ask() == ()
        assert "Disk quota exceeded" in disk.write(3 * MIB)[1]
    finally:
        subprocess.run(["umount", merged], check=True)


def test_a_user_near_the_limit_is_relieved_and_nobody_else(disk, whose, tmp_path):
    """The disk has room; a write beyond the quota would get EDQUOT all the same."""
    users = {"a": (disk.uid, disk.gid), "b": (disk.other, disk.other)}
    for name, (uid, gid) in users.items():
        for step in range(1, 7):
            write_checkpoint(
                disk.point / f"{name}-{uid}", step, size=MIB, mtime=time.time() - 600 * (7 - step)
            )
        owned = ["chown", "-R", f"{uid}:{gid}", disk.point / f"{name}-{uid}"]
        subprocess.run(owned, check=True)
    os.sync()
    used = sum(f.stat().st_blocks * 512 for f in (disk.point / f"a-{disk.uid}").rglob("*"))
    disk.limit(whose, disk.number(whose), hard=int(used * 1.05))
    runs = [disk.point / f"{name}-{uid}" for name, (uid, _) in users.items()]
    marks = {"disk__high": "85%", "disk__low": "80%", "disk__hard": "95%"}
    with ckptd(tmp_path / "state", *runs, **marks) as daemon:
        (need,) = [n for n in planned(daemon).filesystems if n.filesystem.limit]
        assert need.filesystem.limit == f"quota of {whose} {disk.number(whose)}"
        assert need.filesystem.used == pytest.approx(used, rel=0.1)
        daemon.settle(time.monotonic() + 5)
        (need,) = [n for n in planned(daemon).filesystems if n.filesystem.limit]
        assert need.demand == 0
    assert names(runs[0]) >= {"checkpoint-5", "checkpoint-6"}
    assert len(names(runs[0])) < 6
    assert len(names(runs[1])) == 6


def owned_by(disk, path):
    subprocess.run(["chown", "-R", f"{disk.uid}:{disk.gid}", path], check=True)


def test_a_user_whose_quota_is_exhausted_is_relieved_and_each_act_recorded(
    disk, tmp_path, monkeypatch
):
    """Trainings, trash and ledger alike lie where that user gets EDQUOT for the next byte."""
    home = disk.point / f"home-{disk.uid}"
    run, state = home / "w" / "out", home / "state"
    for step in range(1, 7):
        write_checkpoint(run, step, size=MIB // 8, mtime=time.time() - 600 * (7 - step))
    owned_by(disk, home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / "ckptd.toml").write_text('mode = "enforce"')
    with ckptd(tmp_path / "state", tmp_path, config_file=tmp_path / "ckptd.toml") as daemon:
        daemon.settle(time.monotonic())  # all that is imported late; the user may not read it
    with acting_as(disk.uid, disk.gid), ckptd(state, run) as daemon:
        daemon.cycle()  # it was here before
    disk.write(65536)
    os.sync()
    (used,) = limited(disk)
    disk.limit("user", disk.uid, hard=used.bytes_used, files=used.inodes_used)
    assert "Disk quota exceeded" in disk.write(MIB)[1]
    assert disk.make(1)[0] == 0
    marks = {"disk__high": "85%", "disk__low": "80%", "disk__hard": "95%"}
    with acting_as(disk.uid, disk.gid), ckptd(state, run, **marks) as daemon:
        daemon.settle(time.monotonic() + 5)
        gone = {f"checkpoint-{step}" for step in range(1, 7)} - names(run)
        acts = [r for r in daemon.ledger.history() if r.event == "evict"]
        assert daemon.ledger.unfinished() == ()
    assert gone
    assert names(run) >= {"checkpoint-5", "checkpoint-6"}
    assert {r.checkpoint for r in acts if r.outcome == "done"} == {str(run / n) for n in gone}
    assert disk.write(MIB)[0] > 0
    shutil.rmtree(home)


def limited(disk):
    """The quota with what is used, which is only told of who has a limit."""
    disk.limit("user", disk.uid, hard=100 * MIB, files=10_000)
    return disk.ask()
