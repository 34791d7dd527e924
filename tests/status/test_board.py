"""What a running ckptd shows: to whom, how often, and what a reader makes of bad files."""

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from builders import GIB, NOW, ck, disk, plan_of, run, trashed, world

from ckptd import render, status
from ckptd.model import Unreadable
from ckptd.status import files
from ckptd.status.board import About, Board

ME = os.geteuid()
ABOUT = About("watch", "enforce", ("/data",), ("/etc/ckptd/ckptd.toml",))
MINE = run(ck(10, age="2h"), ck(20, age="1h"), path="/data/mine", uid=ME)
EVENT = {"at": "2026-01-02T03:04:05Z", "event": "evict", "run": "/data/mine", "message": "evict it"}


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def board(state):
    return Board.of(str(state), ABOUT)


def post(board, *runs, **fields):
    seen = world(*(runs or (MINE,)), **fields)
    board._again = 0.0  # as if a second had passed
    assert board.post(plan_of(seen), seen), board.trouble


def shown(state):
    """The names and contents of all that lies on the board."""
    place = state / "status"
    return {path.name: json.loads(path.read_text()) for path in place.iterdir()}


def only(state):
    (report,) = status.read(str(state)).reports
    return report


def write(state, content, pid=None, uid=ME):
    place = state / "status"
    place.mkdir(parents=True, exist_ok=True)
    path = place / files.name_of(uid, os.getpid() if pid is None else pid)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


# --- what is shown -----------------------------------------------------------------------


def test_what_is_posted_is_read_again(board, state):
    stranger = run(ck(5), path="/data/b", uid=ME, adopted=False)
    board.hear(EVENT)
    post(board, MINE, stranger, trash=[trashed(1)], unreadable=(Unreadable("/data/x", "closed"),))
    report = only(state)
    assert [r.path for r in report.runs] == ["/data/mine", "/data/b"]
    assert (report.runs[0].newest_step, report.runs[0].bytes) == (20, 2 * GIB)
    assert report.document["not_adopted"] == {"runs": 1, "checkpoints": 1, "bytes": GIB}
    assert (report.trash_items, report.trash_bytes) == (1, GIB)
    assert report.unreadable == (("/data/x", "closed"),)
    assert [event.message for event in report.events] == ["evict it"]
    assert report.teller.command == "watch"
    assert report.document["made_at"] == render.moment_text(NOW)


def test_it_is_the_document_of_plan_and_more(board, state):
    post(board)
    document = only(state).document
    plan = json.loads(render.dumps(render.plan_json(plan_of(world(MINE)))))
    assert document | plan == document
    assert {"daemon", "not_adopted", "trash", "frozen", "events"} == document.keys() - plan.keys()


def test_only_the_last_events_are_remembered(board, state):
    for number in range(300):
        board.hear(EVENT | {"message": f"event {number}"})
    post(board)
    events = only(state).events
    assert (events[0].message, events[-1].message) == ("event 100", "event 299")


def test_names_that_are_no_utf8_are_shown_as_everywhere(board, state):
    board.hear(EVENT | {"message": "evict \udcff"})
    post(board, run(ck(1), path="/data/\udcff"))
    assert only(state).runs[0].path == "/data/\\xff"
    assert only(state).events[0].message == "evict \\xff"


def test_closing_takes_the_files_away(board, state):
    post(board)
    board.close()
    assert shown(state) == {}
    assert status.read(str(state)) == status.Reports()


# --- how often ---------------------------------------------------------------------------


def test_a_second_post_within_a_second_waits_for_its_time(board, state):
    post(board)
    assert board.due == float("inf")
    other = world(replace(MINE, live=True))
    assert board.post(plan_of(other), other)
    assert not only(state).runs[0].live
    assert 0 < board.due <= 1
    time.sleep(board.due)
    board.post(plan_of(other), other)
    assert only(state).runs[0].live
    assert board.due == float("inf")


def test_what_did_not_change_is_not_written_again(board, state):
    post(board)
    before = status.stamp(str(state))
    post(board)
    assert status.stamp(str(state)) == before
    post(board, used=60.0)
    assert status.stamp(str(state)) != before


def test_after_a_minute_it_is_written_anyway(board, state):
    post(board)
    before = status.stamp(str(state))
    board._written = {name: (body, at - 61) for name, (body, at) in board._written.items()}
    post(board)
    assert status.stamp(str(state)) != before


# --- nothing stops a daemon --------------------------------------------------------------


def test_a_place_that_is_no_directory_is_a_trouble_and_no_failure(board, state):
    state.write_text("")
    seen = world(MINE)
    assert not board.post(plan_of(seen), seen)
    assert str(state) in board.trouble
    board.close()


def test_a_directory_that_goes_away_is_made_again(board, state):
    post(board)
    (state / "status" / files.name_of(ME, os.getpid())).unlink()
    (state / "status").rmdir()
    post(board)
    assert len(shown(state)) == 1


def test_nothing_is_put_where_others_may_write(board, state):
    (state / "status").mkdir(parents=True)
    (state / "status").chmod(0o777)
    seen = world(MINE)
    assert not board.post(plan_of(seen), seen)
    assert "others may write" in board.trouble
    assert shown(state) == {}


def test_no_link_is_followed(board, state, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    state.mkdir()
    (state / "status").symlink_to(tmp_path / "elsewhere")
    seen = world(MINE)
    assert not board.post(plan_of(seen), seen)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.root
def test_a_full_disk_is_a_trouble_that_passes(tmp_path):
    if ME != 0:
        pytest.skip("needs root: a filesystem of its own")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], check=True)
    try:
        board = Board.of(str(small), ABOUT)
        post(board)
        (small / "filler").write_bytes(bytes(40960))
        large = run(*[ck(n) for n in range(100)], path="/data/mine")
        seen = world(large)
        board._again = 0.0
        assert not board.post(plan_of(seen), seen)
        assert "No space left" in board.trouble
        assert len(only(small).runs[0].path) > 0, "the last whole one is still there"
        assert len(shown(small)) == 1
        (small / "filler").unlink()
        post(board, used=70.0)
        assert board.trouble is None
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


# --- a part of it ------------------------------------------------------------------------


def test_a_path_asks_for_the_runs_at_below_and_around_it(board, state):
    other = run(ck(5), path="/scratch/b", uid=ME, filesystem="/scratch", adopted=False)
    lost = (Unreadable("/scratch/b/checkpoint-9", "closed"), Unreadable("/data/x", "closed"))
    trash = [trashed(1, run="/scratch/b"), trashed(2, run="/data/mine")]
    for path in ("/scratch/b", "/data/mine"):
        board.hear(EVENT | {"run": path, "message": path})
    disks = (disk(), disk(path="/scratch"))
    post(board, MINE, other, unreadable=lost, trash=trash, filesystems=disks)
    for path in ("/scratch", "/scratch/b", "/scratch/b/checkpoint-5"):
        document = status.narrow(only(state), [path]).document
        assert [r["path"] for r in document["runs"]] == ["/scratch/b"]
        assert [fs["path"] for fs in document["filesystems"]] == ["/scratch"]
        assert document["not_adopted"] == {"runs": 1, "checkpoints": 1, "bytes": GIB}
        assert [each["message"] for each in document["events"]] == ["/scratch/b"]
        assert (document["trash"]["items"], len(document["unreadable"])) == (
            1,
            path != "/scratch/b/checkpoint-5",
        )
    assert status.narrow(only(state), ["/scratch2"]) is None
    assert status.narrow(only(state), ["/data"]).runs[0].path == "/data/mine"
    for paths in ([], ["/"]):
        assert status.narrow(only(state), paths).runs == only(state).runs


# --- who lives ---------------------------------------------------------------------------


def ended_process():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_dead_daemons_file_is_passed_over_and_swept_by_the_next(board, state):
    post(board)
    (document,) = shown(state).values()
    dead = ended_process()
    document["daemon"]["pid"] = dead
    left_behind = write(state, document, pid=dead)
    cut_off = left_behind.with_name(f".{left_behind.name}")
    cut_off.write_bytes(b'{"version"')
    long_ago = time.time() - 3600
    os.utime(cut_off, (long_ago, long_ago))
    assert len(status.read(str(state)).reports) == 1
    post(Board.of(str(state), ABOUT))
    assert not left_behind.exists()
    assert not cut_off.exists()


def test_a_process_that_took_the_number_of_a_dead_one_is_not_the_daemon(board, state):
    post(board)
    (document,) = shown(state).values()
    document["daemon"]["start"] -= 1
    write(state, document)
    assert status.read(str(state)).reports == ()


def test_on_another_host_it_lives_while_it_writes(board, state):
    post(board)
    (document,) = shown(state).values()
    document["daemon"] |= {"where": "another host", "pid": ended_process()}
    path = write(state, document)
    assert len(status.read(str(state)).reports) == 1
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    assert status.read(str(state)).reports == ()


def test_several_daemons_of_one_user_are_all_shown(board, state):
    post(board)
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_DAEMON, str(state)], stdout=subprocess.PIPE, text=True
    )
    try:
        other.stdout.readline()
        pids = {report.teller.pid for report in status.read(str(state)).reports}
        assert pids == {os.getpid(), other.pid}
        assert len(shown(state)) == 2
    finally:
        other.kill()
        other.communicate()
    assert [report.teller.pid for report in status.read(str(state)).reports] == [os.getpid()]


OTHER_DAEMON = """
import sys, time
from datetime import UTC, datetime
from ckptd.model import Plan, World
from ckptd.status.board import About, Board
assert Board.of(sys.argv[1], About("exec", "enforce")).post(Plan(datetime.now(UTC)), World())
print("posted", flush=True)
time.sleep(60)
"""


# --- what others may have written --------------------------------------------------------

NOT_OURS = {
    "empty": b"",
    "cut-off": b'{"version": 1, "daemon": {"pid": 12',
    "binary": bytes(range(256)),
    "a-list": b"[]",
    "deep": b"[" * 100_000,
    "huge-number": b'{"version": ' + b"9" * 5000 + b"}",
    "not-a-number": b'{"version": NaN}',
    "too-great-a-number": b'{"version": 1e999}',
    "another-version": b'{"version": 99}',
    "nothing-in-it": b'{"version": 1}',
}


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS)
def test_a_file_that_is_none_of_ours_is_one_sentence(state, content):
    path = write(state, content)
    found = status.read(str(state))
    assert found.reports == ()
    (trouble,) = found.troubles
    assert str(path) in trouble
    assert "\n" not in trouble


STRANGE = [None, True, -1, 2**70, 1.5, "x\x1b[2J", [], {}, [1], {"path": 1}]


def test_no_strange_value_anywhere_is_a_traceback(board, state):
    board.hear(EVENT)
    post(board, trash=[trashed(1)], unreadable=(Unreadable("/x", "closed"),))
    (document,) = shown(state).values()
    text = json.dumps(document)
    for path in _paths(document):
        for value in STRANGE:
            other = json.loads(text)
            _set(other, path, value)
            write(state, other)
            found = status.read(str(state))
            assert len(found.reports) + len(found.troubles) <= 1, path
            for report in found.reports:
                render.dumps(report.document)
                status.narrow(report, ["/data/mine"])
                render.lay_out(render.overview(report, NOW), width=80)


def _paths(value, above=()):
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in pairs:
        yield (*above, key)
        if isinstance(below, dict | list):
            yield from _paths(below, (*above, key))


def _set(document, path, value):
    *above, last = path
    for key in above:
        document = document[key]
    document[last] = value


def test_what_is_no_regular_file_is_not_opened_for_long(state):
    place = state / "status"
    place.mkdir(parents=True)
    os.mkfifo(place / files.name_of(ME, os.getpid()))
    (place / files.name_of(ME, 1)).symlink_to("/dev/zero")
    (place / files.name_of(ME, 2)).mkdir()
    begun = time.monotonic()
    found = status.read(str(state))
    assert time.monotonic() - begun < 5
    assert (found.reports, len(found.troubles)) == ((), 3)


def test_a_file_that_is_too_large_is_not_read_whole(state):
    path = write(state, b"")
    os.truncate(path, files.LARGEST + 2)
    (trouble,) = status.read(str(state)).troubles
    assert "too large" in trouble


def test_what_is_named_otherwise_is_not_looked_at(board, state):
    post(board)
    for name in ("notes.txt", f"{ME}.json", f"{ME}.-1.json", "٣.٣.json"):
        (state / "status" / name).write_text("no JSON")
    assert status.read(str(state)).troubles == ()


# --- two users ---------------------------------------------------------------------------

ALICE, BOB = 1500, 1501
ROOT_ONLY = pytest.mark.skipif(ME != 0, reason="needs root: two more users")

READ_AS = """
import os, sys, json
from ckptd import status
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
found = status.read(sys.argv[2])
print(json.dumps([[r.document for r in found.reports], found.troubles, found.others]))
"""


def read_as(uid, state):
    done = subprocess.run(
        [sys.executable, "-c", READ_AS, str(uid), str(state)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def open_state(state):
    """A state directory that every user may pass through."""
    state.mkdir()
    for place in (state, *list(state.parents)[:4]):
        place.chmod(stat.S_IMODE(place.stat().st_mode) | 0o011)
    return state


OF_ALICE = run(ck(1), path="/data/alice", uid=ALICE)
OF_BOB = run(ck(2), path="/scratch/bob", uid=BOB, filesystem="/scratch", watch="/scratch")


def post_for_two(board):
    for who in ("/data/alice", "/scratch/bob"):
        board.hear(EVENT | {"run": who, "message": f"evict in {who}"})
    board.hear(EVENT | {"run": "", "message": "the ledger is full"})
    lost = [Unreadable(f"{r.path}/checkpoint-9", "closed") for r in (OF_ALICE, OF_BOB)]
    frozen = (Unreadable("/scratch/.ckptd.toml", "no TOML"),)
    disks = (disk(), disk(path="/scratch"))
    trash = [trashed(1, uid=ALICE), trashed(2, uid=BOB)]
    post(
        board,
        OF_ALICE,
        OF_BOB,
        filesystems=disks,
        unreadable=tuple(lost),
        frozen=frozen,
        trash=trash,
    )


@pytest.mark.root
@ROOT_ONLY
def test_each_user_sees_what_concerns_them_and_nothing_else(open_state):
    board = Board.of(str(open_state), ABOUT)
    post_for_two(board)
    (documents, troubles, others) = read_as(BOB, open_state)
    (document,) = documents
    assert (troubles, others) == ([], [])
    assert "alice" not in json.dumps(document)
    assert [r["path"] for r in document["runs"]] == ["/scratch/bob"]
    assert [fs["path"] for fs in document["filesystems"]] == ["/scratch"]
    assert [lost["path"] for lost in document["unreadable"]] == ["/scratch/bob/checkpoint-9"]
    assert [each["path"] for each in document["frozen"]] == ["/scratch/.ckptd.toml"]
    assert [each["message"] for each in document["events"]] == ["evict in /scratch/bob"]
    assert document["daemon"]["watches"] == ["/scratch"]
    assert (document["trash"]["items"], document["trash"]["bytes"]) == (1, GIB)
    (of_alice,) = read_as(ALICE, open_state)[0]
    assert "bob" not in json.dumps(of_alice)
    assert of_alice["frozen"] == []


@pytest.mark.root
@ROOT_ONLY
def test_root_sees_all_and_each_file_is_its_users_alone(open_state):
    post_for_two(Board.of(str(open_state), ABOUT))
    assert [r.path for r in only(open_state).runs] == ["/data/alice", "/scratch/bob"]
    assert len(only(open_state).events) == 3
    place = open_state / "status"
    assert (place.stat().st_uid, stat.S_IMODE(place.stat().st_mode)) == (0, 0o755)
    seen = {path.name: path.stat() for path in place.iterdir()}
    pid = os.getpid()
    assert {name: (at.st_uid, stat.S_IMODE(at.st_mode)) for name, at in seen.items()} == {
        f"{uid}.{pid}.json": (uid, 0o600) for uid in (0, ALICE, BOB)
    }


@pytest.mark.root
@ROOT_ONLY
def test_an_event_of_a_run_that_is_gone_still_is_its_owners(open_state):
    board = Board.of(str(open_state), ABOUT)
    post(board, OF_ALICE, OF_BOB)
    board.hear(EVENT | {"run": "/data/alice", "message": "born"})
    post(board, OF_ALICE, OF_BOB)
    board.hear(EVENT | {"run": "/data/alice", "message": "purge"})
    later = run(ck(3), path="/data/alice2", uid=ALICE)
    post(board, later, OF_BOB)
    (of_alice,) = read_as(ALICE, open_state)[0]
    assert [each["message"] for each in of_alice["events"]] == ["born", "purge"]


@pytest.mark.root
@ROOT_ONLY
def test_who_has_no_run_any_more_has_no_file_and_hears_that_a_ckptd_runs(open_state):
    board = Board.of(str(open_state), ABOUT)
    post_for_two(board)
    post(board, OF_BOB)
    assert set(shown(open_state)) == {f"{uid}.{os.getpid()}.json" for uid in (0, BOB)}
    assert read_as(ALICE, open_state) == [[], [], [os.getpid()]]


@pytest.mark.root
@ROOT_ONLY
def test_a_file_that_another_user_left_is_not_believed(open_state):
    post(Board.of(str(open_state), ABOUT))
    (document,) = shown(open_state).values()
    path = write(open_state, document, uid=BOB)
    os.chown(path, ALICE, ALICE)
    path.chmod(0o644)
    documents, troubles, _ = read_as(BOB, open_state)
    assert documents == []
    assert "somebody else" in troubles[0]
