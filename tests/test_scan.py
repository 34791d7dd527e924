import os
import re
import stat
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd import beneath, scan
from ckptd.errors import UnreadableError
from ckptd.formats.base import Claim
from ckptd.model import Entry, Kind, Tree

ROOT = os.geteuid() == 0


def recognise(children):
    """A format of our own: directories named checkpoint-<step>."""
    found = (
        (entry.name, re.fullmatch(r"checkpoint-(\d+)", entry.name))
        for entry in children
        if entry.kind is Kind.DIRECTORY
    )
    return tuple((None, Claim(name, int(match[1]))) for name, match in found if match)


def survey(root):
    return scan.find_runs(str(root), recognise)


def tree_of(directory, **limits):
    fd = os.open(directory.parent, os.O_RDONLY)
    try:
        return scan.tree(fd, directory.name, **limits)
    finally:
        os.close(fd)


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- one directory


def test_children_are_told_by_lstat_in_name_order(tmp_path):
    write(tmp_path / "b", "four")
    (tmp_path / "a").mkdir()
    (tmp_path / "c").symlink_to("nowhere")
    os.mkfifo(tmp_path / "d")
    strange = os.fsdecode(b"e\n\xff")
    write(tmp_path / strange)
    fd = os.open(tmp_path, os.O_RDONLY)
    seen = scan.children(fd)
    os.close(fd)
    kinds = [Kind.DIRECTORY, Kind.FILE, Kind.SYMLINK, Kind.OTHER, Kind.FILE]
    assert [e.path for e in seen] == ["a", "b", "c", "d", strange]
    assert [e.kind for e in seen] == kinds
    assert seen[1].size == 4
    assert seen[2].target == "nowhere"
    assert seen[1].ctime_ns == os.lstat(tmp_path / "b").st_ctime_ns
    assert stat.S_IMODE(seen[1].mode) == stat.S_IMODE(os.lstat(tmp_path / "b").st_mode)


def test_what_is_no_directory_is_unreadable_never_empty(tmp_path):
    fd = os.open(write(tmp_path / "file"), os.O_RDONLY)
    with pytest.raises(UnreadableError, match="file cannot be read: not a directory"):
        scan.children(fd)
    os.close(fd)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link", "absent"):
        with pytest.raises(UnreadableError, match=name):
            tree_of(tmp_path / name)


def test_children_that_come_and_go_while_we_look_do_no_harm(tmp_path):
    write(tmp_path / "stays")
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            write(tmp_path / "comes").unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(300):
            assert {"stays"} <= {e.name for e in scan.children(fd)} <= {"stays", "comes"}
    finally:
        stop.set()
        thread.join()
        os.close(fd)


# --- a claim


def test_a_tree_holds_everything_below_and_follows_nothing(tmp_path):
    save = tmp_path / "checkpoint-5"
    write(save / "w")
    write(save / "global_step5" / "rank0")
    (save / "up").symlink_to("..")
    seen = tree_of(save)
    assert seen.root.path == "checkpoint-5"
    assert [e.path for e in seen.entries] == ["global_step5", "global_step5/rank0", "up", "w"]
    assert [e.path for e in seen.files] == ["global_step5/rank0", "w"]


def test_a_tree_beyond_its_bounds_is_unreadable(tmp_path):
    many = tmp_path / "many"
    for n in range(11):
        write(many / "sub" / str(n))
    with pytest.raises(UnreadableError, match="more than 11 entries"):
        tree_of(many, limit=11)
    assert len(tree_of(many, limit=12).entries) == 12
    deep = tmp_path / "deep"
    (deep / "/".join("d" * 64)).mkdir(parents=True)
    assert len(tree_of(deep).entries) == 64
    (deep / "/".join("d" * 65)).mkdir()
    with pytest.raises(UnreadableError, match="deeper than 64"):
        tree_of(deep)


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="mounting needs root")
def test_what_is_mounted_in_a_claim_is_listed_and_not_entered(tmp_path):
    save = tmp_path / "run" / "checkpoint-5"
    (save / "mount").mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "none", str(save / "mount")], check=False)
    if done.returncode:
        pytest.skip("no mount here")
    try:
        write(save / "mount" / "inner")
        entries = tree_of(save).entries
        watched = survey(tmp_path / "run" / "checkpoint-5")
    finally:
        subprocess.run(["umount", str(save / "mount")], check=True)
    assert [(e.path, e.kind) for e in entries] == [("mount", Kind.OTHER)]
    assert [u.path for u in watched.unreadable] == [str(save / "mount")]
    assert "another filesystem" in watched.unreadable[0].error


# --- identity


def changes(save):
    def rewrite():
        write(save / "w", "y")

    def touch():
        os.utime(save / "w", ns=(0, 0))

    def add():
        write(save / "new")

    def rename():
        (save / "w").rename(save / "v")

    def relink():
        (save / "link").unlink()
        (save / "link").symlink_to("w2")

    def replace():
        other = write(save.parent / "other")
        stamp = os.stat(save / "w").st_mtime_ns
        os.utime(other, ns=(stamp, stamp))
        other.rename(save / "w")

    return [rewrite, touch, add, rename, relink, replace]


CHANGES = ["rewrite", "touch", "add", "rename", "relink", "replace"]


@pytest.mark.parametrize("which", range(6), ids=CHANGES)
def test_any_change_inside_changes_the_identity(tmp_path, which):
    save = tmp_path / "checkpoint-5"
    write(save / "w")
    os.utime(save / "w", ns=(5, 5))
    (save / "link").symlink_to("w")
    before = scan.identity(tree_of(save))
    assert scan.identity(tree_of(save)) == before
    changes(save)[which]()
    assert scan.identity(tree_of(save)) != before


def test_a_pin_a_mode_and_a_move_leave_the_identity_alone(tmp_path):
    save = tmp_path / "checkpoint-5"
    write(save / "w")
    before = scan.identity(tree_of(save))
    os.chmod(save / "w", 0o444)
    os.chmod(save, 0o555)
    os.utime(save)
    os.chmod(save, 0o755)
    save.rename(tmp_path / "elsewhere")
    assert scan.identity(tree_of(tmp_path / "elsewhere")) == before


def entry(path, size=0):
    return Entry(path, Kind.FILE, 1, 1, size, 0, 1, 0, 0, 0)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=()), min_size=1)


@given(
    st.sets(names.filter(lambda n: not re.search("[\ud800-\udc7f\udd00-\udfff]", n)), max_size=5)
)
def test_identity_knows_no_order(paths):
    entries = tuple(entry(path) for path in paths)
    root = entry("root")
    assert scan.identity(Tree(root, entries)) == scan.identity(Tree(root, entries[::-1]))


# --- peeking


def test_peek_reads_only_regular_files_and_only_so_much(tmp_path):
    write(tmp_path / "w", "0123456789")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("w")
    fd = os.open(tmp_path, os.O_RDONLY)
    peek = scan.peek(fd)
    assert peek("w", 2, 3) == b"234"
    assert peek("w", 8, 10**12) == b"89"
    assert peek("w", 99, 5) == b""
    for bad in ("fifo", "link", ".", "..", "../w", "/etc/passwd", "absent"):
        with pytest.raises(OSError):
            peek(bad, 0, 5)
    os.close(fd)


def test_peek_gives_at_most_64_mebibytes(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(65 * 2**20)
    fd = os.open(tmp_path, os.O_RDONLY)
    assert len(scan.peek(fd)("sparse", 0, 2**40)) == 64 * 2**20
    os.close(fd)


# --- runs below a watch


def test_runs_are_found_and_claims_are_not_entered(tmp_path):
    write(tmp_path / "a" / "checkpoint-1" / "w")
    write(tmp_path / "a" / "checkpoint-1" / "checkpoint-9" / "w")
    write(tmp_path / "a" / "v0" / "checkpoint-2" / "w")
    write(tmp_path / "b" / "notes" / "readme")
    write(tmp_path / ".ckptd-trash" / "0" / "checkpoint-3" / "w")
    write(tmp_path / "b" / ".hidden" / "checkpoint-3" / "w")
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a")
    seen = survey(tmp_path)
    assert [run.path for run in seen.runs] == [str(tmp_path / "a"), str(tmp_path / "a" / "v0")]
    assert [c.name for _, c in seen.runs[0].claims] == ["checkpoint-1"]
    assert [e.name for e in seen.runs[0].children] == ["checkpoint-1", "v0"]
    visited = ["", "/a", "/a/v0", "/b", "/b/notes"]
    assert seen.directories == tuple(f"{tmp_path}{below}" for below in visited)
    assert seen.unreadable == ()


def test_the_watch_itself_may_be_a_run(tmp_path):
    write(tmp_path / "checkpoint-1" / "w")
    assert [(r.path, r.inode) for r in survey(tmp_path).runs] == [
        (str(tmp_path), os.stat(tmp_path).st_ino)
    ]


def test_a_watch_that_does_not_exist_yet_is_normal(tmp_path):
    assert survey(tmp_path / "not" / "yet") == scan.Survey()


def test_a_watch_that_is_no_directory_is_said(tmp_path):
    path = str(write(tmp_path / "file"))
    (unreadable,) = survey(path).unreadable
    assert (unreadable.path, unreadable.error) == (path, "not a directory")


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: path.symlink_to("checkpoint-1"), "symbolic link"),
        (lambda path: path.symlink_to(path), "symbolic link"),
        (os.mkfifo, "neither file nor directory"),
        (write, "a file named like"),
    ],
    ids=["link", "loop", "fifo", "file"],
)
def test_what_only_looks_like_a_checkpoint_is_said(tmp_path, make, word):
    write(tmp_path / "checkpoint-1" / "w")
    make(tmp_path / "checkpoint-2")
    seen = survey(tmp_path)
    assert [c.name for _, c in seen.runs[0].claims] == ["checkpoint-1"]
    (unreadable,) = seen.unreadable
    assert unreadable.path == str(tmp_path / "checkpoint-2")
    assert word in unreadable.error


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="becomes another user to lose root's rights")
def test_an_unreadable_directory_is_said_and_the_rest_is_found():
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        write(Path(top, "run", "checkpoint-1", "w"))
        Path(top, "secret").mkdir(mode=0o700)
        with beneath.as_owner(1500, 1500):
            seen = survey(top)
    assert [run.path for run in seen.runs] == [f"{top}/run"]
    assert [(u.path, u.error) for u in seen.unreadable] == [(f"{top}/secret", "permission denied")]


def test_one_run_is_found_again_as_the_survey_found_it(tmp_path):
    write(tmp_path / "run" / "checkpoint-1" / "w")
    (found,) = survey(tmp_path).runs
    assert scan.find_run(found.path, recognise) == found
    assert scan.find_run(str(tmp_path), recognise) is None
    assert scan.find_run(str(tmp_path / "gone"), recognise) is None
    (tmp_path / "link").symlink_to("run")
    with pytest.raises(UnreadableError):
        scan.find_run(str(tmp_path / "link"), recognise)
