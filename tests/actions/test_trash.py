import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ckptd import scan
from ckptd import trash as shelves
from ckptd.actions import removing, trash
from ckptd.actions.place import shelf
from ckptd.actions.planned import Planned
from ckptd.beneath import PIN
from ckptd.errors import ActionError, RefusedError
from ckptd.model import ActionKind, Checkpoint, Health, Run

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="several users or mounts need root")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SAVED = datetime(2026, 1, 2, 3, 0, 0, tzinfo=UTC)
ID = "abcdefghijklmnop"
ALICE, BOB = 1500, 1501
STRANGE = os.fsdecode(b"out \xff\n")
# Every name pattern of the frameworks that list a directory (top-level names only).
FRAMEWORK_NAMES = [
    r"checkpoint-\d+",
    r"tmp-checkpoint-(?:\d+|[a-z0-9_]{8})",
    r"checkpoint_\d+",
    r"checkpoint-\d+(-rolling|-merged)?",
    r".*epoch=\d+.*\.ckpt",
    r"last(?:-v\d+)?\.ckpt",
    r".+--[^=]+=.*",
    r".+-unfinished",
    r"(?:.+_)?\d+",
    r".+\.orbax-checkpoint-tmp(?:-\d+)?",
    r"step-\d+",
    r"ep\d+-ba\d+(-rank\d+\.pt)?",
    r"global_step_?\d+",
    r"iter_\d{7,}|release",
    r"v\d+-\d{8}-\d{6}",
    r"(?:last|best|epoch\d+)\.pt",
    r".+-\d+\.(?:index|data-\d{5}-of-\d{5})",
    r"(?:latest\.weights\.h5|training_metadata\.json)(?:\.bkp)?",
    r"checkpoint.*\.pt(\.tmp)?",
    r".*\.pth\.tar",
    r"tmp[a-z0-9_]{8}",
    r"(?:epoch|step)_?(\d+|latest)(?:\.pt)?",
    r".+_\d+_steps\.(?:zip|pkl)",
    r"\d+",
    r".+-\d{6}(?:\.(?:safetensors|ckpt|pt)|-state)?",
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"\.tmp[A-Za-z0-9]{6}",
]


@pytest.fixture
def top():
    """A directory that every user may pass through; pytest's own are closed to others."""
    path = tempfile.mkdtemp()
    os.chmod(path, 0o755)
    yield Path(os.path.realpath(path))
    for each, directories, _ in os.walk(path):
        for name in directories:
            os.chmod(os.path.join(each, name), 0o700)
    shutil.rmtree(path)


def save(run, step=5):
    path = run / f"checkpoint-{step}"
    (path / "global_step5").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"w" * 5000)
    (path / "global_step5" / "optim.pt").write_bytes(b"o" * 9000)
    (path / os.fsdecode(b"\xffname")).write_text("x")
    (path / "link").symlink_to("model.safetensors")
    os.link(path / "model.safetensors", path / "twice")
    for number, each in enumerate(sorted(path.rglob("*"))):
        os.utime(each, ns=(10**18 + number, 10**18 + 7 * number), follow_symlinks=False)
    os.chmod(path / "model.safetensors", 0o440)
    os.utime(path, ns=(10**18, 10**18 + 123_456_789))
    return path


def run_at(path, watch):
    seen = os.stat(path)
    return Run(str(path), str(watch), str(watch), "f", seen.st_dev, seen.st_ino, seen.st_uid, ())


def checkpoint_at(path):
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        tree = scan.tree(fd, path.name)
    finally:
        os.close(fd)
    return Checkpoint(
        path=str(path),
        name=path.name,
        identity=scan.identity(tree),
        format="f",
        step=5,
        bytes=tree.allocated,
        saved_at=SAVED,
        health=Health.COMPLETE,
        evidence="",
        weights_whole=True,
    )


def let_go(path, place, checkpoint=None, run=None, **named):
    return trash.move_in(
        run or run_at(path.parent, place),
        checkpoint or checkpoint_at(path),
        ActionKind.EVICT,
        id=named.get("id", ID),
        place=str(place),
        reason="3rd newest; keep_last is 2",
        now=NOW,
    )


def snapshot(path):
    """Everything that lstat says of a tree, but the times of access and of the inode itself."""
    return {
        str(each.relative_to(path)): (
            (seen := os.lstat(each)).st_mode,
            seen.st_ino,
            seen.st_uid,
            seen.st_gid,
            seen.st_nlink,
            seen.st_size,
            seen.st_mtime_ns,
        )
        for each in [path, *path.rglob("*")]
    }


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def names_of(run):
    return sorted(os.listdir(run))


# --- in and out again


def test_what_was_moved_in_tells_where_it_came_from(top):
    run = top / STRANGE
    path = save(run)
    item = let_go(path, top)
    assert names_of(run) == []
    assert trash.items(str(top)) == (replace(item, filesystem=""),)
    assert item.path == str(path)
    mine = top / ".ckptd-trash" / str(os.geteuid())
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    assert stat.S_IMODE((mine / f"{ID}.json").stat().st_mode) == 0o600
    assert json.loads((mine / f"{ID}.json").read_text())["run"] == STRANGE


@pytest.mark.parametrize("mode", [0o755, 0o555, 0o700])
def test_restore_puts_it_back_exactly_as_it_was_and_pins_it(top, mode):
    path = save(top / "run")
    os.chmod(path, mode)
    before, open_before = snapshot(path), descriptors()
    item = let_go(path, top)
    assert trash.restore(item) == str(path)
    assert snapshot(path) == before
    assert names_of(top / ".ckptd-trash" / str(os.geteuid())) == []
    assert descriptors() == open_before
    try:
        os.setxattr(top, PIN, b"1")
    except OSError:
        pytest.skip("no extended attributes here")
    assert PIN in os.listxattr(path)


def test_restore_goes_elsewhere_when_told(top):
    path = save(top / "run")
    before = snapshot(path)
    item = let_go(path, top)
    (top / "else").mkdir()
    assert trash.restore(item, to=str(top / "else")) == str(top / "else" / path.name)
    assert snapshot(top / "else" / path.name) == before


def test_restore_refuses_a_name_that_is_taken(top):
    path = save(top / "run")
    item = let_go(path, top)
    path.mkdir()
    with pytest.raises(RefusedError, match="exists already"):
        trash.restore(item)
    assert trash.items(str(top)) != ()
    assert names_of(path) == []
    in_trash = top / ".ckptd-trash" / str(os.geteuid()) / ID
    assert PIN not in os.listxattr(in_trash)


def test_restore_refuses_when_the_run_or_the_item_is_gone(top):
    path = save(top / "run")
    item = let_go(path, top)
    path.parent.rename(top / "moved")
    with pytest.raises(RefusedError, match="--to DIR"):
        trash.restore(item)
    (top / "run").symlink_to("moved")
    with pytest.raises(RefusedError):
        trash.restore(item)
    trash.restore(item, to=str(top / "moved"))
    with pytest.raises(RefusedError, match="gone"):
        trash.restore(item, to=str(top / "moved"))


# --- looking again


def test_a_changed_checkpoint_is_refused_and_left(top):
    path = save(top / "run")
    planned = checkpoint_at(path)
    (path / "new").write_text("x")
    before = snapshot(path)
    for act in (lambda: let_go(path, top, checkpoint=planned), lambda: remove(path, planned, top)):
        with pytest.raises(RefusedError, match="changed since"):
            act()
    assert snapshot(path) == before
    assert trash.items(str(top)) == ()


def remove(path, planned, top):
    return removing.remove(run_at(path.parent, top), planned, id=ID)


def test_another_run_under_the_same_path_is_refused(top):
    path = save(top / "run")
    run, planned = run_at(top / "run", top), checkpoint_at(path)
    (top / "run").rename(top / "old")
    (top / "run").symlink_to("old")
    with pytest.raises(RefusedError):
        let_go(path, top, checkpoint=planned, run=run)
    (top / "run").unlink()
    save(top / "run")
    with pytest.raises(RefusedError, match="no longer the run"):
        let_go(path, top, checkpoint=planned, run=run)
    assert names_of(top / "old") == names_of(top / "run") == ["checkpoint-5"]


def test_a_checkpoint_that_is_gone_or_a_link_is_refused(top):
    path = save(top / "run")
    run, planned = run_at(top / "run", top), checkpoint_at(path)
    path.rename(top / "elsewhere")
    with pytest.raises(RefusedError, match="gone"):
        let_go(path, top, checkpoint=planned, run=run)
    path.symlink_to(top / "elsewhere")
    with pytest.raises(RefusedError, match="gone or replaced"):
        let_go(path, top, checkpoint=planned, run=run)
    assert (top / "elsewhere" / "model.safetensors").exists()


SWAP = """
import ctypes, os, sys
libc, run, link = ctypes.CDLL(None), *map(os.fsencode, sys.argv[1:])
print("ready", flush=True)
while True:
    libc.renameat2(-100, run, -100, link, 2)
"""


@contextmanager
def swapping(run, victim):
    """A process that exchanges the run and a link to the victim as fast as it can."""
    link = run.with_name("link")
    link.symlink_to(victim)
    command = [sys.executable, "-c", SWAP, str(run), str(link)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as attacker:
        attacker.stdout.readline()
        try:
            yield
        finally:
            attacker.kill()


def test_a_run_swapped_for_a_link_while_we_act_loses_the_victim_nothing(top):
    victim, run = top / "victim", top / "run"
    for step in range(60):
        save(victim, step)
    mine = [save(run, step) for step in range(60)]
    before = snapshot(victim)
    seen, planned = run_at(run, top), [checkpoint_at(path) for path in mine]
    done, refused, turn = set(), 0, 0
    until = time.monotonic() + 20  # a starved attacker may stand still for a while
    with swapping(run, victim):
        while len(done) < 20 and time.monotonic() < until:
            number, turn = turn % 60, turn + 1
            if number in done:
                continue
            id_ = "swappingaa" + "".join("ab"[number >> n & 1] for n in range(6))
            try:
                if number % 2:
                    let_go(mine[number], top, id=id_, checkpoint=planned[number], run=seen)
                else:
                    removing.remove(seen, planned[number], id=id_)
                done.add(number)
            except RefusedError:
                refused += 1
    assert snapshot(victim) == before
    assert done
    assert refused
    assert {item.name for item in trash.items(str(top))} == {
        planned[number].name for number in done if number % 2
    }


def test_what_was_replaced_in_the_last_moment_is_put_back(top):
    path = save(top / "run")
    planned = checkpoint_at(path)
    run_fd = os.open(top / "run", os.O_RDONLY)
    found = Planned(run_fd, run_fd, os.geteuid(), os.getegid())
    with shelf(str(top), os.geteuid(), os.getegid()) as here:
        path.rename(top / "looked-at")
        other = save(top / "run")
        before = snapshot(other)
        os.rename(path.name, ID, src_dir_fd=run_fd, dst_dir_fd=here.fd)
        with pytest.raises(RefusedError, match="put back"):
            trash._confirm(found, here, planned, ID)
    os.close(run_fd)
    assert snapshot(other) == before


# --- what stands in the way


def test_an_id_that_is_taken_moves_nothing(top):
    first, second = save(top / "run", 1), save(top / "run", 2)
    let_go(first, top)
    before = trash.items(str(top))
    with pytest.raises(ActionError):
        let_go(second, top)
    assert second.exists()
    assert trash.items(str(top)) == before


@pytest.mark.parametrize("id_", ["../../../escape", "short", "ABCDEFGHIJKLMNOP", ID + "\n"])
def test_an_id_is_sixteen_letters(top, id_):
    path = save(top / "run")
    with pytest.raises(ActionError, match="no id"):
        let_go(path, top, id=id_)
    assert path.exists()


@pytest.mark.parametrize("spoil", ["file", "link", "open"])
def test_a_shelf_that_is_not_its_owners_alone_is_refused(top, spoil):
    path = save(top / "run")
    mine = top / ".ckptd-trash" / str(os.geteuid())
    mine.parent.mkdir()
    if spoil == "file":
        mine.write_text("x")
    elif spoil == "link":
        (top / "mine").mkdir(mode=0o700)
        mine.symlink_to(top / "mine")
    else:
        mine.mkdir()
        os.chmod(mine, 0o777)
    with pytest.raises(RefusedError):
        let_go(path, top)
    assert path.exists()


@pytest.fixture
def mounted(top):
    made = []

    def mount(path, size="8m"):
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no mount here: {done.stderr.strip()}")
        made.append(path)
        return path

    yield mount
    for path in reversed(made):
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.root
@needs_root
def test_a_trash_on_another_filesystem_is_refused(top, mounted):
    path = save(mounted(top / "mnt") / "run")
    before = snapshot(path)
    with pytest.raises(RefusedError, match="another filesystem"):
        let_go(path, top)
    assert snapshot(path) == before
    assert trash.items(str(top)) == ()
    assert trash.find_place(str(path.parent), str(top), lambda _: False) == str(top / "mnt")


@pytest.mark.root
@needs_root
def test_a_disk_without_a_byte_free_is_no_hindrance(top, mounted):
    path = save(mounted(top / "mnt", "1m") / "run")
    (top / "mnt" / ".ckptd-trash" / "0").mkdir(parents=True, mode=0o700)
    with open(top / "mnt" / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
        all(filler.write(b"x" * 4096) for _ in range(1024))
    let_go(path, top / "mnt")
    (unknown,) = trash.items(str(top / "mnt"))
    assert (unknown.id, unknown.known) == (ID, False)
    assert trash.purge(unknown) > 0
    assert trash.items(str(top / "mnt")) == ()


# --- several users


def owned_by(uid, path):
    for each in [path, *path.rglob("*")]:
        os.chown(each, uid, uid, follow_symlinks=False)
    return path


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("mode", [0o755, 0o555])
def test_root_acts_in_the_owners_rights_and_the_owner_can_restore(top, mode):
    path = save(top / "alice")
    os.chmod(path, mode)
    owned_by(ALICE, top / "alice")
    before = snapshot(path)
    item = let_go(path, top)
    mine = top / ".ckptd-trash" / str(ALICE)
    assert (item.uid, mine.stat().st_uid) == (ALICE, ALICE)
    assert (mine / f"{ID}.json").stat().st_uid == ALICE
    read = ["cat", f"{mine}/{ID}.json"]
    assert subprocess.run(read, user=ALICE, group=ALICE, extra_groups=[], check=True)
    trash.restore(item)
    assert snapshot(path) == before


@pytest.mark.root
@needs_root
def test_root_refuses_a_checkpoint_that_is_not_its_runs_owners(top):
    path = owned_by(BOB, save(top / "alice"))
    os.chown(top / "alice", ALICE, ALICE)
    with pytest.raises(RefusedError, match="another user"):
        let_go(path, top)
    assert path.exists()


@pytest.mark.root
@needs_root
def test_users_share_a_place_and_keep_their_own_shelves(top):
    os.chmod(top, 0o1777)
    paths = [save(top / name) for name in ("alice", "bob")]
    for uid, path in zip((ALICE, BOB), paths, strict=True):
        owned_by(uid, path.parent)
        let_go(path, top, id=chr(uid - ALICE + 97) * 16)
    assert {item.uid for item in trash.items(str(top))} == {ALICE, BOB}
    assert stat.S_IMODE((top / ".ckptd-trash").stat().st_mode) == 0o1777


@pytest.mark.root
@needs_root
def test_a_shelf_that_somebody_else_made_is_refused(top):
    path = save(top / "alice")
    owned_by(ALICE, path.parent)
    mine = top / ".ckptd-trash" / str(ALICE)
    mine.mkdir(parents=True, mode=0o700)
    os.chown(mine, BOB, BOB)
    with pytest.raises((RefusedError, ActionError)):
        let_go(path, top)
    assert path.exists()


# --- the end


def test_purge_unlinks_and_tells_the_bytes(top):
    path = save(top / "run")
    expected = checkpoint_at(path).bytes
    assert trash.purge(let_go(path, top)) == expected
    assert names_of(top / ".ckptd-trash" / str(os.geteuid())) == []


def test_what_was_restored_cannot_be_purged_nor_the_reverse(top):
    path = save(top / "run")
    item = let_go(path, top)
    trash.restore(item)
    with pytest.raises(RefusedError, match="gone"):
        trash.purge(item)
    assert path.exists()
    again = let_go(path, top, checkpoint=replace(checkpoint_at(path), pinned=True))
    trash.purge(again)
    with pytest.raises(RefusedError, match="gone"):
        trash.restore(again)


def test_a_purge_and_a_restore_at_once_leave_all_or_nothing(top):
    for number in range(30):
        path = save(top / "run", number)
        before = snapshot(path)
        item = let_go(path, top)
        failures = []

        def act(how, item=item, failures=failures):
            try:
                how(item)
            except RefusedError as error:
                failures.append(error)

        threads = [
            threading.Thread(target=act, args=(how,)) for how in (trash.purge, trash.restore)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failures) == 1
        if path.exists():
            assert snapshot(path) == before
        assert trash.items(str(top)) == ()


def test_a_tree_3000_deep_goes(top):
    path = save(top / "run")
    item = let_go(path, top)
    here = os.open(top / ".ckptd-trash" / str(os.geteuid()) / ID, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert trash.purge(item) > 0
    assert trash.items(str(top)) == ()


def test_a_purge_that_had_begun_is_finished_later(top):
    let_go(save(top / "run"), top)
    mine = top / ".ckptd-trash" / str(os.geteuid())
    (mine / ID).rename(mine / f"{ID}purging")
    assert [item.id for item in trash.items(str(top))] == [ID]
    assert trash.finish_purges(str(top)) > 0
    assert names_of(mine) == []


def test_only_an_old_sidecar_without_its_item_is_cleared(top):
    let_go(save(top / "run"), top)
    mine = top / ".ckptd-trash" / str(os.geteuid())
    (mine / ID).rename(top / "away")
    trash.finish_purges(str(top))
    assert names_of(mine) == [f"{ID}.json"]
    os.utime(mine / f"{ID}.json", (0, 0))
    (mine / "notes.json").write_text("mine")
    trash.finish_purges(str(top))
    assert names_of(mine) == ["notes.json"]


def test_remove_unlinks_in_place(top):
    path = save(top / "run")
    other = save(top / "run", 6)
    expected = checkpoint_at(path).bytes
    assert remove(path, checkpoint_at(path), top) == expected
    assert names_of(top / "run") == [other.name]


# --- sidecars are foreign bytes

BAD = {
    "cut": '{"version": 1, "run": "r',
    "deep": "[" * 60_000,
    "long": '{"a": "' + "x" * 70_000 + '"}',
    "list": "[]",
    "empty": "",
}
BAD_FIELDS = [
    {"run": "../outside"},
    {"run": "/etc"},
    {"run": "a/../../b"},
    {"run": "."},
    {"run": ""},
    {"run": "a\0b"},
    {"run": 5},
    {"run": "\ud834"},
    {"name": "a/b"},
    {"name": ".."},
    {"bytes": -1},
    {"bytes": True},
    {"step": "5"},
    {"saved_at": "never"},
    {"saved_at": "2026-01-02T03:04:05"},
    {"action": "explode"},
]


def test_an_item_with_a_hostile_sidecar_is_unknown(top):
    let_go(save(top / "run"), top)
    path = top / ".ckptd-trash" / str(os.geteuid()) / f"{ID}.json"
    good = json.loads(path.read_text())
    texts = [*BAD.values(), *(json.dumps(good | bad) for bad in BAD_FIELDS)]
    for text in texts:
        path.write_text(text)
        (item,) = trash.items(str(top))
        assert not item.known, text[:80]
        with pytest.raises(RefusedError, match="no record"):
            trash.restore(item)
    path.write_text(json.dumps(good))
    assert trash.items(str(top))[0].known


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_a_sidecar_that_is_no_file_is_not_opened(top, kind):
    let_go(save(top / "run"), top)
    path = top / ".ckptd-trash" / str(os.geteuid()) / f"{ID}.json"
    kept = path.rename(top / "kept.json")
    {"fifo": os.mkfifo, "link": lambda p: p.symlink_to(kept), "directory": os.mkdir}[kind](path)
    assert [item.known for item in trash.items(str(top))] == [False]


def test_an_unknown_item_can_be_restored_to_a_named_place(top):
    path = save(top / "run")
    before = snapshot(path)
    let_go(path, top)
    (top / ".ckptd-trash" / str(os.geteuid()) / f"{ID}.json").unlink()
    (item,) = trash.items(str(top))
    assert trash.restore(item, to=str(top)) == str(top / ID)
    assert snapshot(top / ID) == before


# --- where


def is_run(path):
    return any(name.startswith("checkpoint-") for name in os.listdir(path))


def test_the_top_of_the_watch_is_the_place(top):
    (top / "w" / "a" / "run").mkdir(parents=True)
    assert trash.find_place(f"{top}/w/a/run", f"{top}/w", is_run) == f"{top}/w"


@pytest.mark.parametrize(
    ("watch", "expected"),
    [("w/run", "w"), ("w", ""), ("w/checkpoints", "w/good")],
    ids=["the-watch-is-the-run", "its-top-is-a-run", "accelerate-lists-it"],
)
def test_else_the_nearest_directory_above_that_is_no_run(top, watch, expected):
    run = top / "w" / "run"
    if expected == "":
        run.mkdir(parents=True)
        (top / "w" / "checkpoint-1").mkdir()
    elif "good" in expected:
        run = top / "w" / "good" / "checkpoints" / "run"
        run.mkdir(parents=True)
        watch = "w/good/checkpoints"
    else:
        run.mkdir(parents=True)
    place = trash.find_place(str(run), f"{top}/{watch}", is_run)
    assert place == str(top / expected if expected else top)


def test_no_place_is_a_refusal_with_the_way_out(top):
    (top / "run").mkdir()
    with pytest.raises(RefusedError, match="--trash-for 0s"):
        trash.find_place(f"{top}/run", str(top), lambda _: True)


def test_items_are_found_from_the_watch_they_came_from(top):
    run = top / "w" / "run"
    let_go(save(run, 1), top, id="a" * 16)
    let_go(save(run, 2), top / "w", id="b" * 16)
    let_go(save(top / "other", 3), top, id="c" * 16)
    found, unreadable = shelves.below(str(top / "w"))
    assert {item.id for item in found} == {"a" * 16, "b" * 16}
    assert unreadable == ()
    found, _ = shelves.below(str(run))
    assert {item.id for item in found} == {"a" * 16, "b" * 16}
    places = scan.find_runs(str(top), lambda _: ()).places
    assert places == (str(top), str(top / "w"))
    assert {i.id for i in shelves.below(str(top), places)[0]} == {c * 16 for c in "abc"}


def test_no_framework_takes_a_name_in_the_trash_for_its_own():
    for name in (ID, "zzzzzzzzzzzzzzzz", f"{ID}{shelves.PURGING}", f"{ID}.json"):
        matching = [p for p in FRAMEWORK_NAMES if re.fullmatch(p, name)]
        assert matching == []
