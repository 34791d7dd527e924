"""An audit event is one record, told once: by the journal, a JSON line or a person."""

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from listening import Journal, forget_logging, journal_fields, lines_in

from ckptd import audit, logs
from ckptd.audit import FEW, GRACE, OLDEST, Audit
from ckptd.ledger import Ledger, Record
from ckptd.logs.gap import HICCUP
from ckptd.model import EVENTS

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
HOSTILE = Record(
    event="refuse",
    at=0.0,
    checkpoint="/data/a\nMESSAGE=forged/checkpoint-\udcff\x1b[31m",
    reason="it has a \x07 in it",
    error="\u202e\ud800",
)


@pytest.fixture(autouse=True)
def as_found():
    yield
    forget_logging()


@pytest.fixture
def ledger(tmp_path):
    with Ledger(str(tmp_path / "state")) as ledger:
        yield ledger


@pytest.fixture
def journal(tmp_path):
    """A journal that is away until it comes; what is logged goes there."""
    journal = Journal(tmp_path / "journal")
    logs.configure("journal", io.StringIO(), journal.path)
    return journal


def record(name, event="refuse", **fields):
    return Record(**{"event": event, "at": time.time(), "run": "/r", "id": name} | fields)


def noted(ledger, *names, **fields):
    """Records that are in the ledger and were not told."""
    records = [record(name, **fields) for name in names]
    assert all(ledger.note(record) for record in records)
    return records


def ids(events):
    return [event["CKPTD_ID"] for event in events]


# --- one record ------------------------------------------------------------------------------


def test_event_has_every_field():
    assert audit.event(EVICTED) == {
        "at": "2026-01-02T03:04:05.250000Z",
        "event": "evict",
        "message": "evict /data/a/checkpoint-50 (step 50, 1.2 GiB): 3rd newest; keep_last is 2",
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
def test_journal_json_and_people_are_told_the_same(ledger, journal, record):
    told = audit.event(record)
    with journal:
        Audit(ledger).tell(record)
        assert journal.received() == journal_fields(told) | {"SYSLOG_IDENTIFIER": "ckptd"}
    lines = lines_in("json")
    Audit(ledger).tell(record)
    assert [json.loads(line) for line in lines()] == [told]
    lines = lines_in("people")
    Audit(ledger).tell(record)
    (line,) = lines()
    assert line.endswith(told["message"])


def test_journal_has_the_promised_fields(ledger, journal):
    with journal:
        Audit(ledger).tell(EVICTED)
        received = journal.received()

    promised = ["EVENT", "CHECKPOINT", "RUN", "STEP", "BYTES", "RULE", "REASON", "ID"]
    assert {f"CKPTD_{name}" for name in promised} | {"MESSAGE_ID", "PRIORITY"} <= set(received)


def test_every_text_of_an_event_is_harmless():
    texts = [value for value in audit.event(HOSTILE).values() if isinstance(value, str)]

    assert all(text.isprintable() and text.isascii() for text in texts)
    assert r"\xff" in audit.event(HOSTILE)["message"]


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (Record(event="evict", at=0, checkpoint="/r/c"), "evict /r/c"),
        (Record(event="recognised", at=0, checkpoint="/r/c", step=7), "recognised /r/c (step 7)"),
        (Record(event="adopt", at=0, run="/r/run", reason="named"), "adopt /r/run: named"),
        (
            Record(event="shortfall", at=0, reason="/data lacks 3 GiB"),
            "shortfall: /data lacks 3 GiB",
        ),
        (
            Record(event="purge", at=0, checkpoint="/r/c", outcome="failed", error="read-only"),
            "purge failed /r/c: read-only",
        ),
        (
            Record(event="evict", at=0, checkpoint="/r/c", bytes=2**30, details={"space_in": 3600}),
            "evict /r/c (1.0 GiB): its space comes in 1 h",
        ),
        (
            Record(event="evict", at=0, checkpoint="/r/c", details={"space_in": 0}),
            "evict /r/c: its space is free",
        ),
        (
            Record(
                event="evict", at=0, checkpoint="/r/c", outcome="failed", details={"space_in": 0}
            ),
            "evict failed /r/c",
        ),
    ],
)
def test_sentence_says_what_happened_and_where(record, sentence):
    assert audit.sentence(record) == sentence


def test_an_event_of_a_later_ckptd_is_told_as_well():
    assert audit.event(Record(event="something new", at=0))["priority"] == 6


PEOPLE = {
    "shortfall": 3,
    "diverged": 3,
    "broken": 4,
    "unreadable": 4,
    "frozen": 4,
    "refuse": 5,
    "pressure": 5,
    "config": 5,
    "ledger": 5,
    "notify": 5,
}


@pytest.mark.parametrize("kind", audit.MESSAGE_IDS)
def test_a_warning_is_what_needs_a_person_and_so_is_whatever_failed(kind):
    done, failed = (Record(event=kind, at=0, outcome=outcome) for outcome in ("done", "failed"))

    assert audit.event(done)["priority"] == PEOPLE.get(kind, 6)
    assert audit.event(replace(done, outcome="dropped"))["priority"] == PEOPLE.get(kind, 6)
    assert audit.event(failed)["priority"] == min(4, PEOPLE.get(kind, 6))


def test_the_kinds_that_may_be_asked_for_are_all_but_that_of_messages_themselves():
    assert (*EVENTS, "notify") == tuple(audit.MESSAGE_IDS)


def test_each_kind_has_its_own_message_id():
    identities = audit.MESSAGE_IDS.values()

    assert len(set(identities)) == len(identities)
    assert all(re.fullmatch("[0-9a-f]{32}", identity) for identity in identities)


def test_clock_set_to_nowhere_is_still_told():
    assert audit.event(Record(event="evict", at=1e30))["at"].startswith("1970-01-01")


# --- told once, and in order -----------------------------------------------------------------


def test_what_was_told_is_not_told_again(ledger, journal):
    with journal:
        teller = Audit(ledger, others=True)
        for each in noted(ledger, "a", "b", at=time.time() - 2 * GRACE):
            teller.tell(each)
        assert teller.replay() == 0
        assert Audit(ledger, others=True).replay() == 0

        assert ids(journal.all()) == ["a", "b"]


@pytest.mark.parametrize("journald", ["absent", "gone", "full"])
def test_what_the_journal_did_not_take_is_told_when_it_is_back(ledger, journal, journald):
    names = [f"n{number}" for number in range(1000)]
    if journald != "absent":
        journal.come()
    if journald == "gone":
        journal.go()
    teller = Audit(ledger)
    for each in noted(ledger, *names):
        teller.tell(each)
    assert teller.waiting
    assert teller.replay() == 0
    came = journal.all() if journald == "full" else []
    if journald != "full":
        if journald == "gone":
            os.unlink(journal.path)
        journal.come()
    assert teller.waiting == len(names) - len(came)
    while teller.replay():
        came += journal.all()
    came += journal.all()
    journal.go()

    # On a slow machine all this takes longer than a hiccup, which is told of as well.
    assert ids(event for event in came if event["CKPTD_EVENT"] != "ledger") == names
    assert teller.waiting == 0


def test_what_is_new_waits_behind_what_is_old(ledger, journal):
    teller = Audit(ledger)
    names = [f"n{number}" for number in range(3 * FEW)]
    for each in noted(ledger, *names):
        teller.tell(each)
    with journal:
        came = []
        for number in range(10):
            (each,) = noted(ledger, f"new{number}")
            names.append(each.id)
            teller.tell(each)
            came += journal.all()
        assert ids(came) == names
        assert teller.waiting == 0


def test_one_replay_tells_so_many_and_no_more(ledger, journal):
    teller = Audit(ledger)
    for each in noted(ledger, *(f"n{number}" for number in range(3 * FEW))):
        teller.tell(each)
    with journal:
        assert teller.replay(most=5) == 5
        assert len(journal.all()) == 5


def test_journal_that_was_away_is_told_of_once(ledger, journal):
    teller = Audit(ledger)
    for each in noted(ledger, "a", "b"):
        teller.tell(each)
    time.sleep(HICCUP)
    with journal:
        teller.replay()
        teller.replay()
        *before, last = journal.all()

    assert ids(before) == ["a", "b"]
    assert (last["CKPTD_EVENT"], last["PRIORITY"]) == ("ledger", "5")
    assert "2 records waited" in last["MESSAGE"]
    assert [r.id for r in ledger.history(events=["ledger"])] == [last["CKPTD_ID"]]


def test_journal_that_stumbled_is_not_told_of(ledger, journal):
    teller = Audit(ledger)
    for each in noted(ledger, "a"):
        teller.tell(each)
    with journal:
        teller.replay()
        assert ids(journal.all()) == ["a"]


def test_what_a_command_told_a_person_is_told_by_the_daemon(ledger, journal):
    for each in noted(ledger, "pinned", at=time.time() - GRACE):
        Audit(ledger, talk=False).tell(each)
    with journal:
        assert Audit(ledger).replay() == 0
        assert Audit(ledger, others=True).replay() == 1
        assert Audit(ledger, others=True).replay() == 0

        assert ids(journal.all()) == ["pinned"]


def test_what_another_process_has_just_recorded_is_left_to_it(ledger, journal):
    noted(ledger, "its own")
    with journal:
        assert Audit(ledger, others=True).replay() == 0


def test_what_is_a_week_old_is_left_to_the_history(ledger, journal):
    noted(ledger, "old", at=time.time() - OLDEST - 1)
    noted(ledger, "young", at=time.time() - OLDEST + 60)
    with journal:
        Audit(ledger, others=True).replay()

        assert ids(journal.all()) == ["young"]


def test_two_that_replay_do_not_tell_twice(tmp_path, ledger, journal):
    noted(ledger, *(f"n{number}" for number in range(50)), at=time.time() - GRACE)
    with journal, Ledger(str(tmp_path / "state")) as other:
        tellers = [Audit(each, others=True) for each in (ledger, other)]
        threads = [threading.Thread(target=teller.replay) for teller in tellers]
        for thread in threads:
            thread.start()
        came = []
        while any(thread.is_alive() for thread in threads):
            came += journal.all()
        for teller in tellers:
            teller.replay()
            came += journal.all()
        while tellers[0].replay():
            came += journal.all()

    assert ids(came) == [f"n{number}" for number in range(50)]


def test_threads_tell_through_one_audit(ledger, journal):
    teller = Audit(ledger)

    def work(name):
        for number in range(20):
            (each,) = noted(ledger, f"{name}{number}")
            teller.tell(each)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with journal:
        came = []
        while teller.replay():
            came += journal.all()
        came += journal.all()

    assert sorted(ids(came)) == sorted(f"{name}{number}" for name in "abc" for number in range(20))


def test_what_others_could_not_tell_does_not_stand_before_what_is_ours(ledger, journal):
    noted(ledger, *(f"theirs{number}" for number in range(2 * FEW)))
    teller = Audit(ledger)
    (mine,) = noted(ledger, "mine")
    teller.tell(mine)
    with journal:
        teller.replay()

        assert ids(journal.all()) == ["mine"]


def test_record_that_waits_in_a_slot_is_told_once(tmp_path, ledger, journal):
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        told, waits = noted(ledger, "told", "waits", at=time.time() - GRACE)
        teller = Audit(ledger)
        with journal:
            teller.tell(told)
            assert ids(journal.all()) == ["told"]
        os.unlink(journal.path)
        teller.tell(waits)
        with journal:
            teller.replay()
            assert ids(journal.all()) == ["waits"]
            busy.execute("ROLLBACK")
            ledger.drain()
            assert Audit(ledger, others=True).replay() == 0


def test_what_was_told_and_could_not_be_marked_is_not_told_again(tmp_path, ledger, journal):
    (each,) = noted(ledger, "a", at=time.time() - GRACE)
    teller = Audit(ledger, others=True)
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        with journal:
            teller.tell(each)
            assert teller.replay() == 0
            busy.execute("ROLLBACK")
            assert teller.replay() == 0
            assert Audit(ledger, others=True).replay() == 0
            assert ids(journal.all()) == ["a"]


def test_record_that_no_ledger_holds_goes_to_the_stream_without_a_journal(tmp_path, ledger):
    stream = io.StringIO()
    logs.configure("journal", stream, str(tmp_path / "nobody"))
    teller = Audit(ledger)
    teller.tell(record("lost"))

    assert json.loads(stream.getvalue())["id"] == "lost"
    assert teller.waiting == 0


def test_record_that_no_ledger_holds_does_not_wait_behind_others(ledger, journal):
    teller = Audit(ledger)
    for each in noted(ledger, *(f"n{number}" for number in range(3 * FEW))):
        teller.tell(each)
    with journal:
        teller.tell(record("lost"))
        assert ids(journal.all()) == ["lost"]


def test_end_tells_what_the_journal_takes_in_a_moment(ledger, journal):
    teller = Audit(ledger)
    for each in noted(ledger, "a"):
        teller.tell(each)
    begun = time.monotonic()
    teller.close()
    assert time.monotonic() - begun < 5, "in a moment, and what a busy machine adds"
    with journal:
        teller.close()
        assert ids(journal.all()) == ["a"]


KILLED = """
import os, sys
from ckptd import logs
from ckptd.audit import Audit
from ckptd.ledger import Ledger, Record
state, journal, at = sys.argv[1:]
logs.configure("journal", journal=journal)
with Ledger(state) as ledger:
    audit = Audit(ledger)
    for name in ("told", "between"):
        record = Record(event="refuse", at=float(at), id=name)
        ledger.note(record)
        if name == "between":
            os.kill(os.getpid(), 9)
        audit.tell(record)
"""


def test_process_killed_between_record_and_telling_is_told_by_the_next(tmp_path, journal):
    state = str(tmp_path / "state")
    at = time.time() - GRACE
    with journal:
        command = [sys.executable, "-c", KILLED, state, journal.path, str(at)]
        assert subprocess.run(command, check=False).returncode == -9
        with Ledger(state) as ledger:
            Audit(ledger, others=True).replay()

        assert ids(journal.all()) == ["told", "between"]


def test_nothing_of_structlog_is_imported_before_something_is_told():
    code = "import sys, ckptd.audit, ckptd.logs; print('structlog' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert ran.stdout == b"False\n"
