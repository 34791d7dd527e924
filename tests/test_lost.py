"""What journald left unread when its socket was closed is found out, and told again once."""

import io
import os
import sqlite3
import time
from contextlib import closing

import pytest
from asking import Journalctl
from box import until
from listening import Journal, forget_logging

from ckptd import logs
from ckptd.audit import Audit
from ckptd.ledger import Ledger, Record
from ckptd.logs import journalctl
from ckptd.logs.journal import REMEMBERED


@pytest.fixture(autouse=True)
def as_found():
    yield
    forget_logging()


@pytest.fixture
def asked(tmp_path, monkeypatch):
    place = tmp_path / "bin"
    place.mkdir()
    asked = Journalctl(place)
    # No other one is to be found: what the stand-in needs of the system lies beside it.
    for tool in ("sh", "grep", "sleep"):
        found = next(p for p in ("/bin", "/usr/bin") if os.path.exists(f"{p}/{tool}"))
        (place / tool).symlink_to(f"{found}/{tool}")
    monkeypatch.setenv("PATH", str(place))
    return asked


@pytest.fixture
def ledger(tmp_path):
    with Ledger(str(tmp_path / "state")) as ledger:
        yield ledger


@pytest.fixture
def told(tmp_path, ledger, asked):
    logs.configure("journal", io.StringIO(), str(tmp_path / "journal"))
    with Journal(tmp_path / "journal") as journal:
        yield Told(ledger, journal, asked)


class Told:
    """What was told, and a journal that shows what it received."""

    def __init__(self, ledger, journal, asked):
        self.audit = Audit(ledger)
        self.journal = journal
        self.events = []
        self._ledger = ledger
        self._asked = asked

    def tell(self, *names):
        for name in names:
            record = Record(event="refuse", at=time.time(), run="/r", id=name)
            assert self._ledger.note(record)
            self.audit.tell(record)

    def receive(self, *events):
        """The journal takes these, or all that it was told, and shows them from now on."""
        events = events or self.journal.all()
        self.events += events
        self._asked.show(event["CKPTD_ID"] for event in events)

    def settle(self):
        """Until nothing waits."""
        assert until(self._replayed, 30)
        self.receive()

    def _replayed(self):
        self.audit.replay()
        self.receive()
        return not self.audit.waiting

    @property
    def ids(self):
        return [e["CKPTD_ID"] for e in self.events if e["CKPTD_EVENT"] != "ledger"]

    @property
    def sentences(self):
        return [e["MESSAGE"] for e in self.events if e["CKPTD_EVENT"] == "ledger"]


def test_what_lay_unread_is_told_again_and_nothing_else(told):
    told.tell("a", "b", "c", "d")
    told.receive(told.journal.received(), told.journal.received())
    told.journal.go()
    told.tell("e", "f")
    told.journal.come()
    told.settle()

    assert told.ids == ["a", "b", "e", "f", "c", "d"]
    (sentence,) = told.sentences
    assert "stopped and lost 2 records it had taken, told again now" in sentence


def test_what_is_told_again_is_the_same_event(told, ledger):
    told.tell("a")
    (thrown_away,) = told.journal.all()  # as systemd does while it stops journald
    told.journal.go()
    told.journal.come()
    told.tell("b")
    told.settle()

    assert told.ids == ["b", "a"]
    assert told.events[1] == thrown_away
    assert ledger.untold(0, time.time() + 1, (), 100) == []


def test_socket_that_was_renewed_between_two_events_is_noticed(told):
    told.tell("a", "b")
    told.journal.go()
    told.journal.come()
    assert told.audit.waiting == 0
    told.tell("c")
    assert told.audit.waiting
    told.settle()

    assert told.ids == ["c", "a", "b"]


def test_journal_that_was_full_was_not_away(told, asked):
    asked.go()
    names = [f"n{number}" for number in range(1000)]
    told.tell(*names)
    assert told.audit.waiting
    told.settle()

    assert told.ids == names
    assert not any("socket" in sentence for sentence in told.sentences)


def test_nothing_is_told_again_before_the_journal_shows_what_was_told_last(told, asked):
    told.tell("a", "b")
    told.journal.go()
    told.journal.come()
    told.tell("c")
    end = time.monotonic() + 3 * journalctl.PAUSE
    while time.monotonic() < end:
        assert told.audit.replay() == 0
        time.sleep(0.05)
    late = told.journal.all()
    asked.show(["a"])  # it was slow, not lost
    told.receive(*late)
    told.settle()

    assert told.ids == ["c", "b"]


def test_journal_that_goes_again_loses_nothing(told):
    told.tell("a", "b")
    told.journal.go()
    told.journal.come()
    told.tell("c", "d")
    told.audit.replay()
    told.journal.go()
    told.tell("e")
    told.journal.come()
    told.settle()

    assert sorted(told.ids) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("go", "journalctl cannot be run: No such file or directory"),
        ("may_not_run", "journalctl cannot be run: Permission denied"),
        ("fail", "journalctl does not show what is told"),
        ("babble", "journalctl does not show what is told"),
        ("hang", "journalctl does not show what is told"),
    ],
)
def test_where_nobody_can_be_asked_it_is_said_and_nothing_told_twice(
    told, ledger, asked, monkeypatch, trouble, why
):
    monkeypatch.setattr(journalctl, "PATIENCE", 0.5)
    monkeypatch.setattr(journalctl, "ANSWER", 0.2)
    getattr(asked, trouble)()
    told.tell("a", "b")
    told.journal.go()
    told.tell("c")
    told.journal.come()
    told.settle()

    assert told.ids == ["c"]
    (sentence,) = told.sentences
    assert "what it has of 2 records told before is not known" in sentence
    assert f"{why}; ckptd history has all" in sentence
    assert [r.id for r in ledger.history(events=["refuse"])] == ["a", "b", "c"]


def test_nobody_waits_for_an_answer(told, asked):
    asked.hang()
    told.tell("a")
    told.journal.go()
    told.journal.come()
    told.tell("b")
    begun = time.monotonic()
    for number in range(20):
        told.audit.replay()
        told.tell(f"n{number}")
        told.events += told.journal.all()
    assert time.monotonic() - begun < 5
    pid = int(until(asked.shown.read_text))
    told.audit.close()

    assert not os.path.exists(f"/proc/{pid}")
    told.events += told.journal.all()
    assert "of 1 record told before is not known; ckptd ended first" in told.sentences[0]


def test_while_the_ledger_cannot_be_written_it_stays_in_doubt(told, tmp_path):
    told.tell("a")
    told.journal.go()
    told.journal.come()
    told.tell("b")
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            told.audit.replay()
            told.receive()
        assert told.ids == ["b"]
        busy.execute("ROLLBACK")
    told.settle()

    assert told.ids == ["b", "a"]


def test_what_could_not_be_marked_as_told_is_told_again_where_it_was_lost(told, tmp_path, ledger):
    records = [Record(event="refuse", at=time.time(), run="/r", id=name) for name in "ab"]
    assert all(ledger.note(record) for record in records)
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        told.audit.tell(records[0])
        told.journal.go()
        told.journal.come()
        told.audit.tell(records[1])
        told.receive()
        told.audit.replay()
        time.sleep(0.5)  # the answer is there before anything could be marked
        busy.execute("ROLLBACK")
    told.settle()

    assert told.ids == ["b", "a"]


def test_what_no_ledger_holds_cannot_be_told_again_and_stops_nobody(told):
    told.audit.tell(Record(event="refuse", at=time.time(), run="/r", id="nowhere"))
    told.tell("a")
    told.journal.go()
    told.journal.come()
    told.tell("b")
    told.settle()

    assert told.ids == ["b", "a"]
    assert "stopped and lost 1 record " in told.sentences[0]


def test_no_more_is_remembered_than_is_lost_with_a_socket(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        logs.configure("journal", io.StringIO(), journal.path)
        logs.logger().info("refuse", id="first")
        for number in range(2 * REMEMBERED):
            assert logs.logger().info("refuse", id=f"n{number}")
            journal.received()
        journal.go()
        assert not logs.logger().info("refuse", id="last")

    assert logs.in_doubt() == [f"n{number}" for number in range(REMEMBERED, 2 * REMEMBERED)]
    assert logs.in_doubt() == []
