"""What was told is remembered; what was not is found again, in its order."""

import os
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.ledger import Ledger, Record
from ckptd.ledger.statements import UNTOLD, remembering

VERSION_1 = Path(__file__).parents[1] / "data" / "ledger-version-1.tar.gz"
EVER = {"since": 0.0, "before": 1e12, "also": (), "limit": 100}


def fact(name, **fields):
    return Record(**{"event": "refuse", "at": 1.0, "run": "/r", "id": name} | fields)


def untold(ledger, **question):
    return [record.id for record in ledger.untold(**EVER | question)]


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture
def blocked(state):
    """A ledger whose SQLite file another process keeps to itself, until the second is called."""
    with (
        Ledger(state) as ledger,
        closing(sqlite3.connect(f"{state}/ledger.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        yield ledger, lambda: other.execute("ROLLBACK")


@pytest.fixture
def old_state(tmp_path):
    """What a ckptd that knew nothing of `told` left behind when it was killed."""
    with tarfile.open(VERSION_1) as packed:
        packed.extractall(tmp_path, filter="data")
    return str(tmp_path / "state")


def test_what_was_not_told_is_found_in_its_order_until_it_is(state):
    with Ledger(state) as ledger:
        ledger.note(fact("a", at=9.0))
        ledger.conclude(ledger.intend(fact("b", at=5.0)).id, "done")
        ledger.adopt("/r", 5)
        (adopted,) = ledger.history(events=["adopt"])
        assert untold(ledger) == ["a", "b", adopted.id]
        assert untold(ledger, limit=2) == ["a", "b"]
        assert untold(ledger, since=6.0, before=10.0) == ["a"]
        assert untold(ledger, since=6.0, before=6.0, also=["b", "c"]) == ["b"]

        assert ledger.mark_told(["a", adopted.id])
        assert untold(ledger) == ["b"]
    with Ledger(state) as ledger:
        assert untold(ledger) == ["b"]


def test_intent_is_nothing_to_tell_yet(state):
    with Ledger(state) as ledger:
        ledger.intend(fact("a"))

        assert untold(ledger) == []


def test_what_is_marked_as_untold_waits_again_in_its_place(state):
    with Ledger(state) as ledger:
        for name in "abc":
            ledger.note(fact(name))
        assert ledger.mark_told(["a", "b", "c"])
        assert ledger.mark_untold(["c", "a", "unknown"])

        assert untold(ledger) == ["a", "c"]


def test_what_waits_in_slots_cannot_be_marked_as_untold_before_it_is_stored(blocked):
    ledger, unblock = blocked
    ledger.note(fact("a"))
    assert ledger.mark_told(["a"])
    assert not ledger.mark_untold(["a"])
    unblock()
    assert ledger.mark_untold(["a"])

    assert untold(ledger) == ["a"]


def test_what_was_told_last_before_a_moment_is_found_in_its_order(state):
    with Ledger(state) as ledger:
        assert ledger.told_last(100.0, 10.0, 5) == []
        for name, at in (("old", 50.0), ("a", 85.0), ("b", 90.0), ("c", 91.0), ("later", 120.0)):
            ledger.note(fact(name, at=at))
        assert ledger.mark_told(["old", "a", "c", "later"])

        assert ledger.told_last(100.0, 10.0, 5) == ["a", "c"]
        assert ledger.told_last(100.0, 10.0, 1) == ["c"]


def test_what_is_too_old_is_let_be(state):
    with Ledger(state) as ledger:
        ledger.note(fact("old"))
        ledger.note(fact("young", at=2.0))
        ledger.let_be(2.0)

        assert untold(ledger) == ["young"]


def test_looking_for_what_waits_reads_nothing_else(state):
    with Ledger(state) as ledger:
        ledger.note(fact("a"))
        asked = UNTOLD % "?,?"
        plan = ledger._database.rows(f"EXPLAIN QUERY PLAN {asked}", (0, 1, "a", "b", 9))

        assert [row[-1] for row in plan] == ["SCAN records USING INDEX records_untold"]


def test_what_waits_in_slots_can_be_told_and_is_not_told_again(blocked, state):
    ledger, unblock = blocked
    ledger.conclude(ledger.intend(fact("a")).id, "done")
    ledger.note(fact("b"))
    assert untold(ledger) == ["a", "b"]

    assert ledger.mark_told(["a"])
    assert untold(ledger) == ["b"]
    unblock()
    with Ledger(state) as other:  # moves them into SQLite: it need not be who told them
        assert untold(other) == ["b"]
        assert [record.id for record in other.history()] == ["a", "b"]


def test_slot_used_again_is_not_told_for_its_predecessor(blocked):
    ledger, unblock = blocked
    ledger.note(fact("a"))
    ledger.mark_told(["a"])
    (slot,) = ledger._slots_file.read()
    ledger._slots_file.free(slot)
    ledger.note(fact("b"))

    assert untold(ledger) == ["b"]
    unblock()


def test_records_keep_their_order_over_slots(blocked):
    ledger, unblock = blocked
    ledger.note(fact("first"))
    unblock()
    ledger.note(fact("second"))

    assert untold(ledger) == ["first", "second"]


def test_one_process_at_a_time_tells_what_waits(state):
    with Ledger(state) as ledger, Ledger(state) as other:
        with ledger.telling() as mine, other.telling() as its:
            assert (mine, its) == (True, False)
        with other.telling() as its:
            assert its


def test_file_of_version_1_counts_as_told_but_for_what_waits_in_its_slots(old_state):
    before = [record.id for record in Ledger.read_only(old_state).history()]
    with Ledger(old_state) as ledger:
        assert [record.id for record in ledger.history()] == before
        assert ledger.is_adopted("/r", 5)
        assert [save.name for save in ledger.saves("/r")] == ["checkpoint-1"]
        assert [record.id for record in ledger.unfinished()] == ["cutcutcutcutcutc"]
        assert untold(ledger) == ["waitwaitwaitwait"]
        assert ledger.note(fact("new"))
        assert untold(ledger) == ["waitwaitwaitwait", "new"]
        assert ledger.alarms == ()


def test_reader_of_version_1_changes_nothing(old_state):
    # Not what SQLite's readers share in memory.
    names = [name for name in os.listdir(old_state) if not name.endswith("-shm")]
    before = {name: Path(old_state, name).read_bytes() for name in names}
    view = Ledger.read_only(old_state)

    assert len(list(view.history())) == 5
    assert view.alarms == ()
    assert {name: Path(old_state, name).read_bytes() for name in names} == before


def test_version_1_and_2_come_to_the_same_tables(old_state, tmp_path):
    Ledger(old_state).close()
    Ledger(str(tmp_path / "new")).close()
    tables = []
    for place in (old_state, tmp_path / "new"):
        with closing(sqlite3.connect(f"{place}/ledger.db")) as db:
            columns = [
                row
                for table in ("records", "saves", "adopted")
                for row in db.execute(f"PRAGMA table_info({table})")
            ]
            indexes = db.execute("SELECT name FROM sqlite_schema WHERE type = 'index'").fetchall()
            tables.append((columns, sorted(indexes), db.execute("PRAGMA user_version").fetchone()))

    assert tables[0] == tables[1]


def test_many_processes_bring_one_old_file_up(old_state):
    code = (
        "import sys; from ckptd.ledger import Ledger, Record\n"
        "with Ledger(sys.argv[1]) as ledger:\n"
        "    sys.exit(not ledger.note(Record(event='pin', at=9.0)) or bool(ledger.alarms))"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, old_state]) for _ in range(5)]

    assert [other.wait() for other in others] == [0] * 5
    with Ledger(old_state) as ledger:
        assert len(untold(ledger)) == 6


def test_process_killed_while_it_brings_a_file_up_leaves_it_whole(old_state):
    """SQLite's own transaction: what a kill leaves in the middle of it is rolled back."""
    code = (
        "import os, sqlite3, sys\n"
        "from ckptd.ledger import schema\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 1')\n"
        "db.set_trace_callback(lambda text: text == 'COMMIT' and os.kill(os.getpid(), 9))\n"
        "schema.bring_up(db)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{old_state}/ledger.db"], check=False, capture_output=True
    )
    assert done.returncode == -9
    with closing(sqlite3.connect(f"{old_state}/ledger.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    with Ledger(old_state) as ledger:
        assert untold(ledger) == ["waitwaitwaitwait"]


def test_record_stored_and_in_its_slot_is_told_once(state):
    with Ledger(state) as ledger:
        record = ledger.intend(fact("a"))
        done = replace(record, outcome="done")
        ledger._slots_file.settle(done, own=True)
        ledger._slots_file.mark_told(done.id)
        ledger._database.write(remembering(done), durable=True)  # and killed before it is freed
    with Ledger(state) as ledger:
        assert untold(ledger) == []
