"""What the ledger promises: nothing intended is forgotten, nothing concluded is lost."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import LedgerError
from ckptd.ledger import Ledger, Record, Save, new_id
from ckptd.ledger.held import SLOTS
from ckptd.ledger.record import pack, unpack
from ckptd.ledger.slots import FACTS
from ckptd.ledger.statements import remembering

CHILD = Path(__file__).with_name("ledger_child.py")
STEPS = ("opened", "intended", "acted", "concluded", "noted", "adopted", "closed")


def evict(checkpoint="/r/checkpoint-1", **fields):
    return Record(**{"event": "evict", "at": 10.0, "checkpoint": checkpoint, "run": "/r"} | fields)


def child(*arguments, **options):
    return subprocess.Popen([sys.executable, CHILD, *map(str, arguments)], **options)


def make_newer(state):
    """As if a ckptd of the future had rebuilt the database."""
    with closing(sqlite3.connect(f"{state}/newer")) as other:
        other.execute("PRAGMA application_id = 0x636B7074")
        other.execute("PRAGMA user_version = 99")
    os.rename(f"{state}/newer", f"{state}/ledger.db")


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture
def blocked(state):
    """A ledger whose SQLite file another process keeps to itself."""
    with (
        Ledger(state) as ledger,
        closing(sqlite3.connect(f"{state}/ledger.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        yield ledger, lambda: other.execute("ROLLBACK")


def test_intent_is_told_with_its_outcome(state):
    with Ledger(state) as ledger:
        intended = ledger.intend(evict(bytes=5, details={"place": "/trash"}))
        concluded = ledger.conclude(intended.id, "done", bytes=4, details={"purged": True})

        assert intended.outcome == "intended"
        assert concluded.outcome == "done"
        assert (concluded.bytes, concluded.details) == (4, {"place": "/trash", "purged": True})
        assert list(ledger.history()) == [concluded]


def test_intent_of_a_living_process_is_not_unfinished(state):
    with child("hold", state, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"intended\n"
        with Ledger(state) as ledger:
            assert ledger.unfinished() == ()
            assert [record.id for record in ledger.history()] == ["held"]
        other.kill()
        other.wait()
        with Ledger(state) as ledger:
            assert [record.id for record in ledger.unfinished()] == ["held"]


@pytest.mark.parametrize("until", STEPS)
def test_process_killed_at_any_step_forgets_nothing(state, tmp_path, until):
    act = tmp_path / "act"
    child("work", state, act, until).wait()
    reached = STEPS.index(until)

    with Ledger(state) as ledger:
        unfinished = [record.id for record in ledger.unfinished()]
        history = {record.id: record.outcome for record in ledger.history()}

        assert unfinished == (["act"] if until in ("intended", "acted") else [])
        assert act.exists() == (reached >= STEPS.index("acted"))
        assert history.get("act") == {0: None, 1: "intended", 2: "intended"}.get(reached, "done")
        assert ("fact" in history) == (reached >= STEPS.index("noted"))
        assert ledger.is_adopted("/r", 5) == (reached >= STEPS.index("adopted"))
        assert ledger.alarms == ()


def test_process_killed_at_random_moments_loses_no_concluded_act(state):
    for number in range(6):
        crowd = child("crowd", state, number, 10_000)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            seen = [r for r in Ledger.read_only(state).history() if f"/{number}-" in r.checkpoint]
            if len(seen) > 3 + number:
                break
        crowd.kill()
        crowd.wait()
        with Ledger(state) as ledger:
            told = [r for r in ledger.history() if f"/{number}-" in r.checkpoint]
            steps = sorted(int(r.checkpoint.rpartition("-")[2]) for r in told)
            assert steps == list(range(len(steps)))
            assert len(ledger.unfinished()) <= 1
            for record in ledger.unfinished():
                ledger.conclude(record.id, "dropped")
            assert ledger.alarms == ()


def test_act_stored_but_still_in_its_slot_is_over(state):
    with Ledger(state) as ledger:
        record = ledger.intend(evict())
        done = replace(record, outcome="done")
        ledger._database.write(remembering(done), durable=True)  # and killed before the next step

    view = Ledger.read_only(state)
    assert view.unfinished() == ()
    assert list(view.history()) == [done]
    with Ledger(state) as ledger:
        assert list(ledger.history()) == [done]
        assert ledger._slots_file.read() == ()


def test_recovery_concludes_what_another_process_intended(state, tmp_path):
    child("work", state, tmp_path / "act", "acted").wait()

    with Ledger(state) as ledger:
        (record,) = ledger.unfinished()
        ledger.conclude(record.id, "dropped")

        assert ledger.unfinished() == ()
        assert [r.outcome for r in ledger.history()] == ["dropped"]


def test_two_processes_share_one_ledger(state):
    others = [child("crowd", state, name, 40) for name in "abc"]

    assert [other.wait() for other in others] == [0, 0, 0]
    with Ledger(state) as ledger:
        told = [record.checkpoint for record in ledger.history()]
        assert sorted(told) == sorted(f"/r/{name}-{n}" for name in "abc" for n in range(40))
        assert ledger._slots_file.read() == ()


def test_threads_share_one_ledger(state):
    with Ledger(state) as ledger:

        def act(name):
            for number in range(15):
                ledger.conclude(ledger.intend(evict(f"/r/{name}-{number}")).id, "done")

        threads = [threading.Thread(target=act, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len({record.checkpoint for record in ledger.history()}) == 45


def test_outcome_that_sqlite_cannot_take_waits_in_its_slot(blocked, state):
    ledger, unblock = blocked
    record = ledger.intend(evict())

    concluded = ledger.conclude(record.id, "failed", error="no such file")
    assert Ledger.read_only(state).unfinished() == ()
    assert ledger.unfinished() == ()
    unblock()
    assert ledger.drain() == 1
    assert ledger.drain() == 0
    assert list(ledger.history()) == [concluded]
    assert ledger._slots_file.read() == ()


def test_next_success_moves_what_waits(blocked):
    ledger, unblock = blocked
    ledger.note(evict("/r/a", event="refuse"))
    unblock()
    ledger.note(evict("/r/b", event="refuse"))

    assert ledger._slots_file.read() == ()
    assert {r.checkpoint for r in ledger.history()} == {"/r/a", "/r/b"}


def test_error_of_any_length_is_concluded(blocked):
    ledger, unblock = blocked
    noise = os.urandom(9000).hex()
    record = ledger.intend(evict())

    ledger.conclude(record.id, "failed", error=noise, details={"noise": noise})
    unblock()
    ledger.drain()

    (told,) = ledger.history()
    assert told.outcome == "failed"
    assert told.error
    assert noise.startswith(told.error)


def test_facts_leave_slots_to_acts(state):
    Ledger(state).close()
    make_newer(state)
    with Ledger(state) as ledger:
        noted = [ledger.note(evict(event="refuse")) for _ in range(FACTS + 1)]

        assert noted == [True] * FACTS + [False]
        assert ledger.conclude(ledger.intend(evict()).id, "done").outcome == "done"


def test_full_slots_forbid_the_next_act(state):
    with Ledger(state) as ledger:
        for number in range(SLOTS):
            ledger.intend(evict(f"/r/{number}"))

        with pytest.raises(LedgerError, match="nothing more is let go"):
            ledger.intend(evict())


def test_conclusion_without_intent_is_an_error(state):
    with Ledger(state) as ledger, pytest.raises(LedgerError, match="no intent"):
        ledger.conclude("nobody", "done")


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(evict(step=10**29), id="step-of-30-digits"),
        pytest.param(evict("/r/\udcff\udc80"), id="no-utf-8"),
        pytest.param(evict("/r/a\n\x1b[31m\0"), id="control-characters"),
        pytest.param(evict(reason="\ud800"), id="lone-surrogate"),
        pytest.param(evict(details={"deep": [{"a": None}, 1.5]}), id="details"),
    ],
)
def test_any_value_comes_back_as_it_was(state, record):
    with Ledger(state) as ledger:
        ledger.intend(record)
        (waiting,) = ledger.history()
        stored = ledger.conclude(record.id, "done")

        assert waiting.checkpoint == record.checkpoint
        assert list(ledger.history(paths=[record.checkpoint])) == [stored]
        assert ledger.last(record.checkpoint) == stored
        assert (stored.step, stored.reason, stored.details) == (
            record.step,
            record.reason,
            record.details,
        )


def test_longest_path_fits_into_a_slot(state):
    noise = os.urandom(4095).replace(b"\0", b"x").replace(b"/", b"y")
    longest = os.fsdecode(b"/" + noise[1:])
    with Ledger(state) as ledger:
        ledger.intend(evict(longest, run=longest[:4000], details={"place": longest[:3000]}))

        assert next(ledger.history()).checkpoint == longest


@given(st.text(), st.text(), st.none() | st.integers(min_value=0, max_value=10**40))
def test_packing_loses_nothing(checkpoint, reason, step):
    record = evict(checkpoint, reason=reason, step=step)

    assert unpack(pack(record)) == record


def test_adoption_holds_for_the_directory_not_the_path(state):
    with Ledger(state) as ledger:
        assert ledger.adopt("/r", 2**64 - 1).event == "adopt"
        assert ledger.adopt("/r", 2**64 - 1) is None
    with Ledger(state) as ledger:
        assert ledger.is_adopted("/r", 2**64 - 1)
        assert not ledger.is_adopted("/r", 6)
        ledger.adopt("/r", 6)
        assert ledger.adopted() == {"/r": 6}


def test_adoption_that_sqlite_cannot_take_counts_at_once(blocked):
    ledger, unblock = blocked
    ledger.adopt("/r", 6)

    assert ledger.adopted() == {"/r": 6}
    unblock()
    ledger.drain()
    assert ledger.adopted() == {"/r": 6}


def test_same_save_is_remembered_once(state):
    first = Save(run="/r", name="checkpoint-1", step=10**30, bytes=10, saved_at=1.25)
    second = Save(run="/r", name="checkpoint-2", step=2, bytes=2**70, saved_at=2.5, duration=0.5)
    with Ledger(state) as ledger:
        assert all(ledger.saw_save(save) for save in (second, first, first))
        ledger.saw_save(Save(run="/other", name="c", step=None, bytes=1, saved_at=3))

        newest = ledger.saves("/r", limit=1)
        assert [save.name for save in ledger.saves("/r")] == ["checkpoint-1", "checkpoint-2"]
        assert ledger.saves("/r")[0] == first
        assert (newest[0].name, newest[0].duration) == ("checkpoint-2", 0.5)


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ({}, [1, 2, 3, 4]),
        ({"since": 3.0}, [3, 4]),
        ({"limit": 2}, [3, 4]),
        ({"limit": 0}, []),
        ({"paths": ["/a"]}, [1, 2]),
        ({"paths": ["/a/"]}, [1, 2]),
        ({"paths": ["/a/c-2", "/b"]}, [2, 4]),
        ({"paths": ["/"]}, [1, 2, 3, 4]),
        ({"paths": ["/a"], "limit": 1}, [2]),
    ],
)
@pytest.mark.parametrize("settled", [True, False], ids=["stored", "in-slots"])
def test_history_is_in_order_and_below_its_paths(state, question, told, settled):
    places = ["/a/c-1", "/a/c-2", "/ab/c-3", "/b/c-4"]
    with Ledger(state) as ledger:
        for number, place in sorted(enumerate(places, start=1), reverse=True):
            record = evict(place, run=place.rpartition("/")[0], at=float(number))
            ledger.intend(record)
            if settled:
                ledger.conclude(record.id, "done")

        assert [int(record.at) for record in ledger.history(**question)] == told


def test_last_is_the_last_act_not_the_last_fact(state):
    with Ledger(state) as ledger:
        for at, event in ((1.0, "evict"), (2.0, "restore"), (3.0, "recognised")):
            ledger.note(evict("/r/c", at=at, event=event))

        assert ledger.last("/r/c").event == "restore"
        assert ledger.last("/r/c", events={"recognised"}).at == 3.0
        assert ledger.last("/r/d") is None


@pytest.mark.parametrize("damage", ["garbage", "another-database", "directory", "torn-page"])
def test_damaged_database_is_set_aside_and_intents_survive(state, damage):
    with Ledger(state) as ledger:
        for number in range(40):
            ledger.note(evict(f"/r/{number}", reason="x" * 500))
        ledger.intend(evict("/r/c", id="kept"))
    path = Path(state, "ledger.db")
    content = path.read_bytes()
    path.unlink()
    if damage == "garbage":
        path.write_bytes(b"\xff" * 8192)
    elif damage == "torn-page":
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    elif damage == "directory":
        path.mkdir()
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE photos (name)")
        other.close()

    with Ledger(state) as ledger:
        assert [record.id for record in ledger.unfinished()] == ["kept"]
        assert ledger.note(evict("/r/new"))
        ledger.conclude("kept", "done")

        assert {record.checkpoint for record in ledger.history()} == {"/r/c", "/r/new"}
        assert any("set aside" in alarm for alarm in ledger.alarms)
    assert len([name for name in os.listdir(state) if "damaged" in name]) == 1


def test_database_set_aside_by_another_process_is_left_behind(state):
    with Ledger(state) as ledger:
        ledger.note(evict("/r/old"))
        os.rename(f"{state}/ledger.db", f"{state}/aside")
        for suffix in ("-wal", "-shm"):
            os.rename(f"{state}/ledger.db{suffix}", f"{state}/aside{suffix}")
        ledger.note(evict("/r/new"))

        assert [record.checkpoint for record in ledger.history()] == ["/r/new"]


def test_database_of_a_newer_ckptd_is_left_alone(state):
    Ledger(state).close()
    make_newer(state)
    with Ledger(state) as ledger:
        ledger.conclude(ledger.intend(evict()).id, "done")

        assert len(ledger._slots_file.read()) == 1
    assert not [name for name in os.listdir(state) if "damaged" in name]


def test_without_shared_memory_sqlite_keeps_no_wal(state):
    with Ledger(state, wal=False) as ledger:
        ledger.conclude(ledger.intend(evict()).id, "done")

        assert not os.path.exists(f"{state}/ledger.db-wal")
        assert len(list(Ledger.read_only(state).history())) == 1


def test_all_files_are_made_while_there_is_room(state):
    Ledger(state).close()

    assert sorted(os.listdir(state)) == ["intents", "ledger.db"]


def test_state_directory_is_private(state):
    with Ledger(state) as ledger:
        ledger.note(evict())

        assert os.stat(state).st_mode & 0o777 == 0o700
        assert os.stat(f"{state}/intents").st_mode & 0o777 == 0o600


def test_state_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(LedgerError, match=r"cannot be made: .*nothing is let go"):
        Ledger(str(tmp_path / "file" / "state"))


def test_ids_are_16_letters():
    names = {new_id() for _ in range(500)}

    assert len(names) == 500
    assert all(len(name) == 16 and name.isalpha() and name.islower() for name in names)
