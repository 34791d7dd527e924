import errno
import fcntl
import mmap
import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from ckptd import beneath
from ckptd.errors import RefusedError

ROOT = os.geteuid() == 0
OPENERS = [
    pytest.param(beneath.open_by_kernel, id="openat2"),
    pytest.param(beneath.open_by_walk, id="walk"),
]
ALICE = 1500


@contextmanager
def opened(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def house(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x")
    (tmp_path / "a" / "link").symlink_to("b")
    (tmp_path / "a" / "loop").symlink_to("loop")
    (tmp_path / "a" / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "a" / "fifo")
    return tmp_path


def descriptors():
    return set(os.listdir("/proc/self/fd"))


# --- opening


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("path", ["", ".", "a", "a/b", "a//b/", "./a/./b"])
def test_a_directory_below_is_opened_and_closed_on_exec(house, opener, path):
    with opened(house) as top:
        fd = opener(top, path)
        assert os.path.samestat(os.fstat(fd), os.stat(house / path))
        assert not os.get_inheritable(fd)
        os.close(fd)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(
    ("path", "numbers"),
    [
        ("a/link", {errno.ELOOP, errno.ENOTDIR}),
        ("a/link/file", {errno.ELOOP, errno.ENOTDIR}),
        ("a/loop/x", {errno.ELOOP, errno.ENOTDIR}),
        ("a/out/passwd", {errno.ELOOP, errno.ENOTDIR}),
        ("a/b/file", {errno.ENOTDIR}),
        ("a/b/file/x", {errno.ENOTDIR}),
        ("a/absent", {errno.ENOENT}),
        ("..", {errno.EXDEV}),
        ("a/../a", {errno.EXDEV}),
        ("/etc", {errno.EXDEV}),
    ],
)
def test_links_and_ways_out_are_refused(house, opener, path, numbers):
    before = descriptors()
    with opened(house) as top, pytest.raises(OSError) as caught:
        opener(top, path)
    assert caught.value.errno in numbers
    assert descriptors() == before


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="mounting needs root")
@pytest.mark.parametrize("opener", OPENERS)
def test_a_mount_point_is_not_entered(house, opener, tmpfs_at):
    tmpfs_at(house / "a" / "b")
    with opened(house) as top, pytest.raises(OSError) as caught:
        opener(top, "a/b")
    assert caught.value.errno == errno.EXDEV


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="mounting needs root")
@pytest.mark.parametrize("opener", OPENERS)
def test_a_bind_mount_of_the_same_filesystem_is_not_entered(house, opener, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        ["mount", "--bind", tmp_path / "elsewhere", house / "a" / "b"], check=False
    )
    if done.returncode:
        pytest.skip("no mount allowed here")
    try:
        with opened(house) as top, pytest.raises(OSError) as caught:
            opener(top, "a/b")
    finally:
        subprocess.run(["umount", "--lazy", house / "a" / "b"], check=True)
    assert caught.value.errno == errno.EXDEV


@pytest.fixture
def tmpfs_at():
    mounted = []

    def mount(path):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no mount here: {done.stderr.strip()}")
        mounted.append(path)

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_open_directory_takes_no_link_anywhere_above(house):
    real = os.path.realpath(house)
    fd = beneath.open_directory(f"{real}/a/b")
    assert os.path.samestat(os.fstat(fd), os.stat(house / "a" / "b"))
    os.close(fd)
    for bad in (f"{real}/a/link", f"{real}/a/out/ssl"):
        with pytest.raises(OSError) as caught:
            beneath.open_directory(bad)
        assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}
    with pytest.raises(OSError):
        beneath.open_directory("relative")


def test_open_file_takes_regular_files_only_and_never_waits(house):
    os.mknod(house / "a" / "socket", stat.S_IFSOCK | 0o600)
    with opened(house) as top:
        fd = beneath.open_file(top, "a/b/file")
        assert os.read(fd, 9) == b"x"
        os.close(fd)
        before = descriptors()
        for name in ("a/fifo", "a/b", "a/link", "a/loop", "a/out/passwd", "a/socket"):
            with pytest.raises(OSError):
                beneath.open_file(top, name)
        assert descriptors() == before


def test_without_openat2_the_walk_takes_over(house):
    program = (
        "import ctypes, errno, os, sys\n"
        "from ckptd.beneath import opening\n"
        "def refused(*a, **k): raise OSError(errno.ENOSYS, 'no')\n"
        "opening._OPENERS[0] = refused\n"
        "fd = opening.open_beneath(os.open(sys.argv[1], os.O_RDONLY), 'a/b')\n"
        "assert os.listdir(fd) == ['file']\n"
        "assert opening._OPENERS == [opening.open_by_walk]\n"
    )
    subprocess.run([sys.executable, "-c", program, str(house)], check=True)


# --- renaming


def test_rename_never_replaces(tmp_path):
    for rename in (beneath.rename_noreplace, beneath.rename_onto_absent):
        here = tmp_path / rename.__name__
        (here / "one").mkdir(parents=True)
        (here / "two").mkdir()
        with opened(here) as fd:
            with pytest.raises(FileExistsError):
                rename(fd, "one", fd, "two")
            with pytest.raises(FileNotFoundError):
                rename(fd, "none", fd, "three")
            rename(fd, "one", fd, os.fsdecode(b"\xff\nname"))
        assert sorted(os.listdir(here)) == ["two", os.fsdecode(b"\xff\nname")]


# --- unlinking


def unlink(parent, name):
    seen = os.lstat(parent / name)
    with opened(parent) as fd:
        return beneath.unlink_tree(fd, name, device=seen.st_dev, inode=seen.st_ino)


def deep(top, levels):
    fd = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as leaf:
        leaf.write(b"x")
    os.close(fd)


def test_a_tree_5000_deep_is_unlinked_with_two_descriptors(tmp_path):
    top = tmp_path / "deep"
    top.mkdir()
    deep(top, 5000)
    before = descriptors()
    assert unlink(tmp_path, "deep") >= 4096
    assert os.listdir(tmp_path) == []
    assert descriptors() == before


def test_strange_names_and_kinds_are_unlinked_and_nothing_beyond_them(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "keep").write_text("mine")
    top = tmp_path / "top"
    (top / "sub\nline").mkdir(parents=True)
    (top / "sub\nline" / os.fsdecode(b"\xff\xfe")).write_text("x")
    os.mkfifo(top / "fifo")
    os.mknod(top / "socket", stat.S_IFSOCK | 0o600)
    (top / "link").symlink_to(victim)
    (top / "sub\nline" / "link").symlink_to(victim / "keep")
    (top / "dangling").symlink_to("nowhere")
    unlink(tmp_path, "top")
    assert os.listdir(tmp_path) == ["victim"]
    assert (victim / "keep").read_text() == "mine"


def test_freed_counts_an_inode_when_its_last_name_goes(tmp_path):
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "once").write_bytes(b"x" * 8192)
    (top / "twice").write_bytes(b"x" * 16384)
    os.link(top / "twice", top / "sub" / "again")
    (top / "kept").write_bytes(b"x" * 65536)
    os.link(top / "kept", tmp_path / "elsewhere")
    blocks = [os.lstat(top / name).st_blocks for name in (".", "sub", "once", "twice")]
    assert unlink(tmp_path, "top") == 512 * sum(blocks)
    assert (tmp_path / "elsewhere").stat().st_size == 65536


def test_another_inode_under_the_name_is_refused_whole(tmp_path):
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "file").write_text("x")
    seen = os.lstat(tmp_path / "top")
    before = descriptors()
    with opened(tmp_path) as fd, pytest.raises(RefusedError):
        beneath.unlink_tree(fd, "top", device=seen.st_dev, inode=seen.st_ino + 1)
    assert (tmp_path / "top" / "file").exists()
    assert descriptors() == before


def test_a_link_in_the_place_of_the_tree_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "top").symlink_to("real")
    with pytest.raises(OSError):
        unlink(tmp_path, "top")
    assert (tmp_path / "real" / "file").exists()


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="mounting needs root")
def test_what_is_mounted_inside_survives(tmp_path, tmpfs_at):
    (tmp_path / "top" / "sub" / "mount").mkdir(parents=True)
    tmpfs_at(tmp_path / "top" / "sub" / "mount")
    (tmp_path / "top" / "sub" / "mount" / "file").write_text("x")
    with pytest.raises(OSError) as caught:
        unlink(tmp_path, "top")
    assert caught.value.errno == errno.EXDEV
    assert (tmp_path / "top" / "sub" / "mount" / "file").exists()


@pytest.mark.parametrize("mode", [0o555, 0o000, 0o311, 0o666])
@pytest.mark.skipif(not ROOT, reason="becomes another user to lose root's rights")
@pytest.mark.root
def test_the_owner_unlinks_a_tree_saved_without_permissions(tmp_path, mode):
    (tmp_path / "top" / "sub").mkdir(parents=True)
    (tmp_path / "top" / "sub" / "file").write_text("x")
    for path in (tmp_path, tmp_path / "top", tmp_path / "top" / "sub"):
        os.chown(path, ALICE, ALICE)
    os.chmod(tmp_path / "top" / "sub", mode)
    os.chmod(tmp_path / "top", mode)
    seen = os.lstat(tmp_path / "top")
    with opened(tmp_path) as fd, beneath.as_owner(ALICE, ALICE):
        beneath.unlink_tree(fd, "top", device=seen.st_dev, inode=seen.st_ino)
    assert os.listdir(tmp_path) == []


def test_a_rival_unlinking_the_same_tree_is_no_failure(tmp_path):
    failures = []
    for attempt in range(20):
        top = tmp_path / f"top{attempt}"
        for n in range(20):
            (top / f"d{n}").mkdir(parents=True)
            (top / f"d{n}" / "f").touch()
        seen = os.lstat(top)

        def go(name=top.name, seen=seen):
            with opened(tmp_path) as fd:
                try:
                    beneath.unlink_tree(fd, name, device=seen.st_dev, inode=seen.st_ino)
                except FileNotFoundError as error:
                    if error.filename not in {name, "."}:
                        failures.append(error)

        threads = [threading.Thread(target=go) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert os.listdir(tmp_path) == []


# --- rights


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="becomes another user, which needs root")
def test_as_owner_changes_this_thread_only_and_comes_back(tmp_path):
    tmp_path.chmod(0o700)
    other, done = [], threading.Event()
    thread = threading.Thread(target=lambda: (done.wait(), other.append(os.listdir(tmp_path))))
    thread.start()
    with opened(tmp_path) as fd:
        with beneath.as_owner(ALICE, ALICE):
            with pytest.raises(PermissionError):
                os.mkdir("denied", dir_fd=fd)
            done.set()
            thread.join()
        os.mkdir("allowed", dir_fd=fd)
    assert other == [[]]
    assert os.stat(tmp_path / "allowed").st_uid == 0


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="becomes another user, which needs root")
def test_as_owner_comes_back_after_a_failure(tmp_path):
    with pytest.raises(ZeroDivisionError), beneath.as_owner(ALICE, ALICE):
        raise ZeroDivisionError
    (tmp_path / "new").touch()
    assert os.stat(tmp_path / "new").st_uid == 0


def test_as_owner_of_ourselves_changes_nothing(tmp_path):
    with beneath.as_owner(os.geteuid(), os.getegid()):
        (tmp_path / "new").touch()
    assert os.stat(tmp_path / "new").st_uid == os.geteuid()


# --- signs

HOLD_OPEN = """
import mmap, os, sys
path, how = sys.argv[1:]
fd = os.open(path, os.O_RDWR if how == "write" else os.O_RDONLY)
kept = mmap.mmap(fd, 1, prot=mmap.PROT_READ) if how == "map" else None
if how == "map": os.close(fd)
print("ready", flush=True); sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("how", "to_write", "at_all"),
    [(None, False, False), ("read", False, True), ("write", True, True), ("map", False, True)],
)
def test_leases_tell_readers_writers_and_mappers(tmp_path, how, to_write, at_all):
    path = tmp_path / "file"
    path.write_bytes(b"x" * mmap.PAGESIZE)
    other = how and subprocess.Popen(
        [sys.executable, "-c", HOLD_OPEN, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        if other:
            other.stdout.readline()
        with opened(path) as fd:
            if beneath.open_for(fd, write_only=True) is None:
                pytest.skip("no leases on this filesystem")
            assert beneath.open_for(fd, write_only=True) is to_write
            assert beneath.open_for(fd, write_only=False) is at_all
    finally:
        if other:
            other.communicate()


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_a_lease_on_no_regular_file_proves_nothing(house, kind):
    path = house / "a" if kind == "directory" else house / "a" / "fifo"
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert beneath.open_for(fd, write_only=False) is None
    os.close(fd)


def test_a_lock_on_a_directory_is_seen_and_not_kept(tmp_path):
    with opened(tmp_path) as mine, opened(tmp_path) as theirs:
        assert not beneath.locked(mine)
        fcntl.flock(theirs, fcntl.LOCK_SH)
        assert beneath.locked(mine)
        fcntl.flock(theirs, fcntl.LOCK_UN)
        assert not beneath.locked(mine)
        fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("mode", [0o755, 0o555])
def test_a_pin_leaves_mtime_and_mode_alone(tmp_path, mode):
    save = tmp_path / "checkpoint-5"
    save.mkdir()
    os.chmod(save, mode)
    before = os.stat(save)
    with opened(save) as fd:
        assert not beneath.pinned(fd)
        beneath.unpin(fd)
        try:
            beneath.pin(fd)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            pytest.skip("no extended attributes on this filesystem")
        assert beneath.pinned(fd)
        after = os.stat(save)
        beneath.unpin(fd)
        assert not beneath.pinned(fd)
    assert (before.st_mtime_ns, before.st_mode) == (after.st_mtime_ns, after.st_mode)
