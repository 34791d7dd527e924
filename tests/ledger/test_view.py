"""Reading a state that may be absent, open elsewhere, or nobody's business: nothing is created."""

import os
import shutil

import pytest

from ckptd.ledger import Ledger, Record, Save


def tree(path):
    return sorted(
        (str(place), name) for place, _, names in os.walk(path) for name in (*names, place)
    )


def fill(ledger):
    ledger.adopt("/r", 5)
    ledger.saw_save(Save(run="/r", name="c", step=1, bytes=2, saved_at=3.0))
    ledger.intend(Record(event="evict", at=1.0, checkpoint="/r/c", run="/r"))


def facts(view):
    return (
        view.adopted(),
        len(view.saves("/r")),
        [record.event for record in view.history()],
        view.last("/r/c") is not None,
    )


def test_absent_state_is_empty_and_stays_absent(tmp_path):
    view = Ledger.read_only(str(tmp_path / "none" / "state"))

    assert facts(view) == ({}, 0, [], False)
    assert (view.unfinished(), view.alarms) == ((), ())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("wal", [True, False], ids=["wal", "rollback"])
def test_view_of_an_open_ledger_creates_nothing(tmp_path, wal):
    with Ledger(str(tmp_path), wal=wal) as ledger:
        fill(ledger)
        before = tree(tmp_path)
        view = Ledger.read_only(str(tmp_path))

        assert facts(view) == ({"/r": 5}, 1, ["evict", "adopt"], True)
        assert view.unfinished() == ()
        assert tree(tmp_path) == before


def test_view_of_a_closed_ledger_creates_nothing(tmp_path):
    with Ledger(str(tmp_path)) as ledger:
        fill(ledger)
    before = tree(tmp_path)
    view = Ledger.read_only(str(tmp_path))

    assert facts(view) == ({"/r": 5}, 1, ["evict", "adopt"], True)
    assert len(view.unfinished()) == 1
    assert tree(tmp_path) == before


def test_view_of_a_killed_ledger_sees_what_it_committed(tmp_path):
    with Ledger(str(tmp_path / "alive")) as ledger:
        fill(ledger)
        shutil.copytree(tmp_path / "alive", tmp_path / "dead")  # what a kill leaves behind

    assert facts(Ledger.read_only(str(tmp_path / "dead")))[0] == {"/r": 5}


def test_damaged_state_is_told_and_left_as_it_is(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"\xff" * 9000)
    (tmp_path / "intents").mkdir()
    before = tree(tmp_path)
    view = Ledger.read_only(str(tmp_path))

    assert facts(view) == ({}, 0, [], False)
    assert len(view.alarms) == 2
    assert tree(tmp_path) == before


def test_fifo_in_the_place_of_the_database_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "ledger.db")
    os.mkfifo(tmp_path / "intents")

    assert facts(Ledger.read_only(str(tmp_path))) == ({}, 0, [], False)
