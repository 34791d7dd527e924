"""`history` through the real process: the same records that the journal has, and no others."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta

import corpus
import pytest
from builders import ck, plan_of, run, world
from reachable import reachable
from terminal import CKPTD, PATIENCE, Terminal

from ckptd import audit
from ckptd.ledger import Ledger, Record
from ckptd.status.board import About, Board

NOW = time.time()
HOUR = 3600


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def ckptd(state):
    return Terminal(state)


def remember(state, *records):
    with Ledger(str(state)) as ledger:
        assert all(ledger.note(record) for record in records)
    return [audit.event(record) for record in records]


def record(name, event="evict", ago=0.0, place="/r/checkpoint-1"):
    run = os.path.dirname(place)
    return Record(event=event, at=NOW - ago, checkpoint=place, run=run, id=name, reason="why")


def ids(answer):
    assert answer.status == 0, answer.err
    return [event["id"] for event in answer.document["events"]]


def test_json_is_one_document_of_the_events_as_they_are_told(ckptd, state):
    told = remember(state, record("a", ago=9, place="/r/\udcff\n/c"), record("b", event="pin"))
    answer = ckptd.json("history")

    assert answer.status == 0
    assert answer.document == {"version": 1, "events": told}
    assert tuple(told[0]) == audit.FIELDS


def test_people_read_a_line_each_with_local_time_and_sentence(ckptd, state):
    remember(state, record("a", ago=HOUR, place="/r/\x1b[31m"), record("b"))
    first, second = ckptd.history().out.splitlines()
    at = datetime.fromtimestamp(NOW).strftime("%Y-%m-%d %H:%M:%S")

    assert second == f"{at} evict /r/checkpoint-1: why"
    assert first.endswith(r"evict /r/\x1b[31m: why")


@pytest.mark.parametrize("json_", [True, False], ids=["json", "people"])
def test_nothing_is_remembered_where_there_is_no_ledger(ckptd, state, json_):
    answer = ckptd.json("history") if json_ else ckptd.history()

    assert answer.status == 0
    assert (answer.document["events"] if json_ else answer.out) in ([], "")
    assert json_ or "nothing is recorded" in answer.err
    assert not state.exists()


def at(ago, form="%Y-%m-%dT%H:%M:%S"):
    return (datetime.fromtimestamp(NOW) - timedelta(seconds=ago)).strftime(form)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), "abcd"),
        (("--since", "3h"), "bcd"),
        (("--since", at(3 * HOUR)), "bcd"),
        (("--since", at(3 * HOUR, "%Y-%m-%d %H:%M")), "bcd"),
        (("--since", at(-48 * HOUR, "%Y-%m-%d")), ""),
        (("--since", at(48 * HOUR, "%Y-%m-%d")), "abcd"),
        (("--since", "1970-01-01T00:00+00:00"), "abcd"),
        (("--event", "pin"), "c"),
        (("--event", "pin", "--event", "refuse"), "cd"),
        (("--limit", "2"), "cd"),
        (("--limit", "0"), ""),
        (("--limit", "1", "--event", "evict"), "b"),
        (("/r",), "abd"),
        (("/r/", "--since", "3h"), "bd"),
        (("/r/checkpoint-2", "/other"), "bc"),
        (("/r/checkpoint",), ""),
    ],
)
def test_filters_narrow_it(ckptd, state, words, found):
    remember(
        state,
        record("a", ago=4 * HOUR),
        record("b", ago=2 * HOUR, place="/r/checkpoint-2"),
        record("c", event="pin", ago=HOUR, place="/other/checkpoint-1"),
        record("d", event="refuse"),
    )

    assert ids(ckptd.json("history", *words)) == list(found)


def test_a_time_of_day_is_the_last_one(ckptd, state):
    remember(state, record("a", ago=30 * HOUR), record("b", ago=1))
    for ago in (2, -HOUR):  # an hour from now is yesterday
        assert ids(ckptd.json("history", "--since", at(ago, "%H:%M:%S"))) == ["b"]


def test_a_path_may_be_relative_gone_or_behind_a_link(ckptd, state, tmp_path):
    place = tmp_path / "runs" / "a"
    place.mkdir(parents=True)
    (tmp_path / "link").symlink_to("runs")
    remember(state, record("a", place=f"{place}/checkpoint-1"), record("b"))

    assert ids(ckptd.json("history", "checkpoint-1", cwd=place)) == ["a"]
    assert ids(ckptd.json("history", tmp_path / "link" / "a")) == ["a"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--event", "evcit"), "did you mean evict?"),
        (("--event", "xyz"), "events are recognised, evict"),
        (("--since", "5m"), "min or month"),
        (("--since", "yesterday"), "a moment is 2026-01-02"),
        (("--since", "2026-13-01"), "a moment is 2026-01-02"),
        (("--since", "0001-01-01"), "--since"),
        (("--since", ""), "--since"),
        (("--limit", "-1"), "--limit"),
        (("--limit", "many"), "--limit"),
        (("--limit", "9" * 5000), "--limit"),
    ],
)
def test_a_misspelt_question_is_2_and_one_sentence(ckptd, words, said):
    answer = ckptd.history(*words)

    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


def test_an_act_under_way_is_not_told_before_its_outcome(ckptd, state):
    with Ledger(str(state)) as ledger:
        ledger.intend(record("a"))
        assert ids(ckptd.json("history")) == []
        ledger.conclude("a", "done")
        assert ids(ckptd.json("history")) == ["a"]


def test_what_cannot_be_read_is_said_and_is_4(ckptd, state):
    remember(state, record("a"))
    (state / "ledger.db").write_bytes(b"\xff" * 9000)
    for suffix in ("-wal", "-shm"):
        (state / f"ledger.db{suffix}").unlink(missing_ok=True)
    answer = ckptd.history()

    assert answer.status == 4
    assert "cannot be read" in answer.err


def test_a_long_history_ends_where_its_reader_stops(ckptd, state):
    remember(state, *(record(f"n{number}", ago=5000 - number) for number in range(5000)))
    command = (*CKPTD, "history", "--state", str(state))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shown:
        assert b"evict" in shown.stdout.readline()
        shown.stdout.close()
        assert (shown.wait(PATIENCE), shown.stderr.read()) == (1, b"")
    assert ids(ckptd.json("history")) == [f"n{number}" for number in range(5000)]


def test_what_apply_pin_and_restore_did_is_there(ckptd, tmp_path):
    place = tmp_path / "runs" / "a"
    for nth, step in enumerate((10, 20, 30)):
        corpus.write_checkpoint(place, step, mtime=NOW - (9 - nth) * HOUR)
    ckptd.apply("--keep-last", "2", place)
    ckptd.pin(place / "checkpoint-20")
    ckptd.restore(place / "checkpoint-10")
    happened = [
        (event["event"], event["checkpoint"])
        for event in ckptd.json("history", place).document["events"]
        if event["event"] in ("evict", "pin", "restore")
    ]

    assert happened == [
        ("evict", f"{place}/checkpoint-10"),
        ("pin", f"{place}/checkpoint-20"),
        ("restore", f"{place}/checkpoint-10"),
    ]


BOB = 1501
AS_BOB = """
import os, sys
from ckptd import audit, ledger, render, status
import encodings.ascii, gettext, locale, shutil  # Python itself may lie where BOB cannot look
from ckptd.cli import history, main
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
sys.exit(main(["history", "--json", *sys.argv[2:]]))
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_user_sees_what_a_daemon_of_roots_did_to_their_runs(state, tmp_path):
    seen = world(run(ck(1), path="/data/bob", uid=BOB), run(ck(1), path="/data/alice", uid=BOB + 1))
    reachable(tmp_path, listed=False)
    (own,) = remember(tmp_path / "bob", record("own", ago=5, place="/data/bob/checkpoint-9"))
    for path in (tmp_path / "bob", *(tmp_path / "bob").iterdir()):
        os.chown(path, BOB, BOB)
    board = Board.of(str(state), About("watch", "enforce"))
    told = [
        audit.event(record("early", ago=9, place="/data/bob/checkpoint-1")),
        audit.event(record("hers", place="/data/alice/checkpoint-1")),
        audit.event(record("late", event="purge", place="/data/bob/checkpoint-1")),
    ]
    for event in (*told, own):
        board.hear(event)
    state.mkdir(0o711)
    assert board.post(plan_of(seen), seen), board.trouble

    def asked(*words):
        environment = {"RUNTIME_DIRECTORY": f"{state}/status", "STATE_DIRECTORY": f"{tmp_path}/bob"}
        ran = subprocess.run(
            [sys.executable, "-c", AS_BOB, str(BOB), *words],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
        return json.loads(ran.stdout)["events"]

    assert asked() == [told[0], own, told[2]]
    assert asked("--event", "purge") == [told[2]]
    assert asked("--limit", "1", "/data/bob") == [told[2]]
    between = datetime.fromtimestamp(NOW - 7).isoformat()  # a span would count from a later now
    assert asked("--since", between, "/data/bob/checkpoint-1") == [told[2]]
    assert asked("/data/alice") == []


def test_it_imports_nothing_heavy(state):
    remember(state, record("a"))
    code = (
        "import sys; from ckptd.cli import main; main(sys.argv[1:]);"
        "heavy = {'structlog', 'pydantic', 'watchdog', 'psutil', 'logging', 'rich'};"
        "sys.exit(' '.join(sorted(heavy & {*sys.modules})))"
    )
    command = [sys.executable, "-c", code, "history", "--json", "--state", str(state)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ran.stderr.strip() == ""
    assert [event["id"] for event in json.loads(ran.stdout)["events"]] == ["a"]
