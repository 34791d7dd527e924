"""An audit event is one record, whether the journal, a JSON line or a person gets it."""

import io
import json
import os
import pty
import re
import socket
import subprocess
import sys

import pytest

from ckptd import audit, logs
from ckptd.ledger import Record

EVICTED = Record(
    event="evict",
    at=1_767_323_045.25,
    checkpoint="/data/a/checkpoint-50",
    run="/data/a",
    step=50,
    bytes=1_288_490_189,
    rule="keep_last",
    reason="3rd newest; keep_last is 2",
    id="abcdefghijklmnop",
)
SENTENCE = "evict checkpoint-50 (step 50, 1.2 GiB): 3rd newest; keep_last is 2"
HOSTILE = Record(
    event="refuse",
    at=0.0,
    checkpoint="/data/a\nMESSAGE=forged/checkpoint-\udcff\x1b[31m",
    reason="it has a \x07 in it",
    error="\u202e\ud800",
)


@pytest.fixture(autouse=True)
def as_found():
    """Leaves logging as a fresh process has it."""
    yield
    import structlog

    structlog.reset_defaults()
    if logs._sink is not None:
        logs._sink.close()
    logs._sink = None


@pytest.fixture
def journal(tmp_path):
    """A socket in journald's place: its path, and what the next datagram said."""
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(path)
        bound.settimeout(5)
        yield path, lambda: fields_of(bound.recv(65536))


def fields_of(datagram):
    assert datagram.endswith(b"\n")
    lines = datagram.decode().split("\n")[:-1]
    pairs = [line.partition("=") for line in lines]
    assert all(separator for _, separator, _ in pairs)
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}


def told(record, form):
    stream = io.StringIO()
    logs.configure(form, stream)
    audit.tell(record)
    (line,) = stream.getvalue().splitlines()
    return line


def test_record_is_one_json_line():
    assert json.loads(told(EVICTED, "json")) == {
        "at": "2026-01-02T03:04:05.250000Z",
        "event": "evict",
        "message": SENTENCE,
        "priority": 6,
        "message_id": audit.MESSAGE_IDS["evict"],
        "checkpoint": "/data/a/checkpoint-50",
        "run": "/data/a",
        "step": 50,
        "bytes": 1_288_490_189,
        "rule": "keep_last",
        "reason": "3rd newest; keep_last is 2",
        "id": "abcdefghijklmnop",
        "outcome": "done",
        "error": None,
    }


@pytest.mark.parametrize("record", [EVICTED, HOSTILE], ids=["plain", "hostile"])
def test_journal_json_and_people_are_told_the_same(journal, record):
    path, received = journal
    line = json.loads(told(record, "json"))
    logs.configure("journal", io.StringIO(), path)
    audit.tell(record)
    fields = received()

    bare = {"message", "message_id", "priority"}
    expected = {
        key.upper() if key in bare else f"CKPTD_{key.upper()}": str(value)
        for key, value in line.items()
        if value is not None
    }
    assert fields == expected | {"SYSLOG_IDENTIFIER": "ckptd"}
    assert told(record, "people").endswith(line["message"])


def test_journal_has_the_promised_fields(journal):
    path, received = journal
    logs.configure("journal", io.StringIO(), path)
    audit.tell(EVICTED)

    promised = ["EVENT", "CHECKPOINT", "RUN", "STEP", "BYTES", "RULE", "REASON", "ID"]
    assert {f"CKPTD_{name}" for name in promised} | {"MESSAGE_ID", "PRIORITY"} <= set(received())


def test_people_read_the_time_and_the_sentence():
    assert re.fullmatch(rf"\d\d:\d\d:\d\d {re.escape(SENTENCE)}", told(EVICTED, "people"))


@pytest.mark.parametrize("form", ["people", "json"])
def test_no_line_carries_a_control_character(form):
    line = told(HOSTILE, form)

    assert line.isprintable()
    assert r"\xff" in line.replace("\\\\", "\\")


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (Record(event="evict", at=0, checkpoint="/r/c"), "evict c"),
        (Record(event="recognised", at=0, checkpoint="/r/c", step=7), "recognised c (step 7)"),
        (Record(event="adopt", at=0, run="/r/run", reason="named"), "adopt /r/run: named"),
        (
            Record(event="shortfall", at=0, reason="/data lacks 3 GiB"),
            "shortfall: /data lacks 3 GiB",
        ),
        (
            Record(event="purge", at=0, checkpoint="/r/c", outcome="failed", error="read-only"),
            "purge failed c: read-only",
        ),
        (
            Record(event="evict", at=0, checkpoint="/r/c", bytes=2**30, details={"space_in": 3600}),
            "evict c (1.0 GiB): its space comes in 1 h",
        ),
        (
            Record(event="evict", at=0, checkpoint="/r/c", details={"space_in": 0}),
            "evict c: its space is free",
        ),
        (
            Record(
                event="evict", at=0, checkpoint="/r/c", outcome="failed", details={"space_in": 0}
            ),
            "evict failed c",
        ),
    ],
)
def test_sentence_says_what_happened(record, sentence):
    assert audit.sentence(record) == sentence


@pytest.mark.parametrize(
    ("event", "outcome", "priority"),
    [
        ("evict", "done", 6),
        ("evict", "failed", 4),
        ("recognised", "done", 6),
        ("pressure", "done", 5),
        ("refuse", "done", 4),
        ("broken", "done", 4),
        ("unreadable", "done", 4),
        ("shortfall", "done", 3),
        ("config", "done", 3),
        ("shortfall", "failed", 3),
        ("something new", "done", 6),
    ],
)
def test_priority_fits_the_event(event, outcome, priority):
    record = Record(event=event, at=0, outcome=outcome)

    assert json.loads(told(record, "json"))["priority"] == priority


def test_each_kind_has_its_own_message_id():
    identities = audit.MESSAGE_IDS.values()

    assert len(set(identities)) == len(identities)
    assert all(re.fullmatch("[0-9a-f]{32}", identity) for identity in identities)


def test_clock_set_to_nowhere_is_still_told():
    assert json.loads(told(Record(event="evict", at=1e30), "json"))["event"] == "evict"


@pytest.mark.parametrize("journald", ["absent", "stalled", "gone"])
def test_what_the_journal_does_not_take_goes_to_the_stream(tmp_path, journald):
    path, stream = str(tmp_path / "journal"), io.StringIO()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        if journald != "absent":
            bound.bind(path)
        if journald == "gone":
            bound.close()
        logs.configure("journal", stream, path)
        for _ in range(2000):
            audit.tell(EVICTED)

    lines = stream.getvalue().splitlines()
    assert lines
    assert json.loads(lines[-1])["id"] == EVICTED.id


def test_event_too_long_for_a_datagram_goes_to_the_stream(journal):
    path, _ = journal
    stream = io.StringIO()
    logs.configure("journal", stream, path)
    audit.tell(Record(event="refuse", at=0, reason="x" * 9_000_000))

    assert len(json.loads(stream.getvalue())["reason"]) == 9_000_000


def test_closed_pipe_does_not_end_the_guard():
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    logs.configure("json", stream)
    audit.tell(EVICTED)
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_auto_is_for_people_on_a_terminal():
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal, os.fdopen(leader, "rb", buffering=0) as screen:
        logs.configure("auto", terminal)
        audit.tell(EVICTED)
        assert screen.read(4096).decode().rstrip().endswith(SENTENCE)


TELL = """
import sys
from ckptd import audit, logs
from ckptd.ledger import Record
logs.configure("auto", journal=sys.argv[1])
audit.tell(Record(event="evict", at=0, checkpoint="/r/c", id="told"))
"""


@pytest.mark.parametrize("matches", [True, False])
def test_auto_is_the_journal_where_standard_error_is_its(journal, matches):
    path, received = journal
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen = os.fstat(theirs.fileno())
        named = f"{seen.st_dev}:{seen.st_ino}" if matches else "1:1"
        subprocess.run(
            [sys.executable, "-c", TELL, path],
            stderr=theirs,
            env={**os.environ, "JOURNAL_STREAM": named},
            check=True,
        )
        theirs.close()
        line = ours.recv(65536)

    assert bool(line) != matches
    assert (received()["CKPTD_ID"] if matches else json.loads(line)["id"]) == "told"


def test_plain_lines_pass_the_same_door():
    stream = io.StringIO()
    logs.configure("json", stream)
    logs.logger().warning("watch", message="/a\n is gone", share=float("nan"), names=("\x00",))
    line = json.loads(stream.getvalue())

    assert (line["event"], line["message"], line["priority"]) == ("watch", r"/a\n is gone", 4)
    assert (line["share"], line["names"]) == (None, [r"\x00"])


def test_details_below_the_level_are_not_written():
    stream = io.StringIO()
    logs.configure("json", stream)
    logs.logger().debug("watch", message="a look")

    assert stream.getvalue() == ""


def test_structlog_is_imported_only_when_something_is_logged():
    code = "import sys, ckptd.audit, ckptd.logs; print('structlog' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert ran.stdout == b"False\n"
