"""The state directory is removed, or its disk fails, while ckptd runs."""

import os
import shutil
import time
from pathlib import Path

import pytest
from corpus import write_checkpoint
from house import ckptd, names

from ckptd.errors import LedgerError
from ckptd.ledger import Ledger, Record


def evict(checkpoint):
    return Record(event="evict", at=1.0, checkpoint=checkpoint, run="/r")


def outcomes(state):
    return {r.checkpoint: r.outcome for r in Ledger.read_only(state).history() if r.checkpoint}


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


def test_an_act_that_begins_after_the_removal_is_recorded_where_it_can_be_found(state):
    with Ledger(state) as ledger:
        shutil.rmtree(state)
        record = ledger.intend(evict("/r/c"))
        assert outcomes(state) == {"/r/c": "intended"}
        ledger.conclude(record.id, "done")
        assert any("was removed while ckptd ran" in alarm for alarm in ledger.alarms)
    assert outcomes(state) == {"/r/c": "done"}


def test_an_act_under_way_at_the_removal_is_unfinished_after_a_crash(state):
    ledger = Ledger(state)
    record = ledger.intend(evict("/r/c"))
    shutil.rmtree(state)
    ledger.note(Record(event="refuse", at=2.0))
    ledger.close()  # as a kill would

    with Ledger(state) as later:
        assert [r.id for r in later.unfinished()] == [record.id]


def test_who_was_adopted_stays_so(state):
    with Ledger(state) as ledger:
        ledger.adopt("/r", 5)
        assert ledger.adopted() == {"/r": 5}
        shutil.rmtree(state)
        assert ledger.is_adopted("/r", 5)
        ledger.note(Record(event="refuse", at=2.0))
    with Ledger(state) as later:
        assert later.adopted() == {"/r": 5}


@pytest.fixture
def removed(tmp_path):
    """Where the state directory lies, beside two saves of which one goes.

    Nothing that another test left above them takes a record.
    """
    for refuge in tmp_path.parent.glob(".ckptd-trash/*.intents"):
        refuge.unlink()
    for step in (5, 10):
        write_checkpoint(tmp_path / "out", step, mtime=time.time() - 1000 + step)
    (tmp_path / "away").mkdir()
    return tmp_path / "away"


RULES = {"policy__keep_last": 1, "policy__keep_best": 0}


def test_where_it_cannot_be_made_again_acts_are_recorded_in_the_trash_until_it_can(
    tmp_path, removed
):
    told, state = [], removed / "state"
    with ckptd(state, tmp_path / "out", told=told, **RULES) as daemon:
        shutil.rmtree(removed)
        removed.write_text("no directory any more")
        _, (outcome,) = daemon.settle(time.monotonic())
        assert outcome.ok
        assert names(tmp_path / "out") == {"checkpoint-10"}
        (alarm,) = [record.reason for record in told if record.event == "ledger"]
        assert "cannot be made" in alarm
        assert "what is let go is recorded in " in alarm
        assert f"{tmp_path}/.ckptd-trash" in alarm
        assert "name another one with --state" in alarm
        removed.unlink()
        daemon.settle(time.monotonic())
        mended = [record.reason for record in told if record.event == "ledger"]
        assert "can be written again" in mended[1]
    assert outcomes(str(state))[str(tmp_path / "out" / "checkpoint-5")] == "done"


def test_where_no_disk_takes_a_record_nothing_is_let_go_until_one_does(tmp_path, removed):
    told, state = [], removed / "state"
    (tmp_path / ".ckptd-trash").mkdir()
    (tmp_path / ".ckptd-trash" / f"{os.geteuid()}.intents").mkdir()
    with ckptd(state, tmp_path / "out", told=told, **RULES) as daemon:
        shutil.rmtree(removed)
        removed.write_text("no directory any more")
        _, (outcome,) = daemon.settle(time.monotonic())
        assert not outcome.ok
        assert "cannot be made" in outcome.error
        assert "nothing is let go" in outcome.error
        assert [record.event for record in told if record.event == "refuse"] == ["refuse"]
        assert names(tmp_path / "out") == {"checkpoint-5", "checkpoint-10"}
        daemon.cycle()
        alarms = [record.reason for record in told if record.event == "ledger"]
        assert "until it can, nothing is let go" in alarms[0]
        removed.unlink()
        daemon.failures.clear()  # a minute has passed
        daemon.settle(time.monotonic())
    assert names(tmp_path / "out") == {"checkpoint-10"}
    assert outcomes(str(state))[str(tmp_path / "out" / "checkpoint-5")] == "done"


def test_an_outcome_that_no_disk_takes_is_written_once_one_does(state):
    with Ledger(state) as ledger:
        record = ledger.intend(evict("/r/c"))
        shutil.rmtree(state)
        Path(state).write_text("no directory any more")
        with pytest.raises(LedgerError, match="cannot be made"):
            ledger.conclude(record.id, "done")
        os.unlink(state)
        ledger.note(Record(event="refuse", at=2.0))
        assert outcomes(state) == {"/r/c": "done"}
        assert ledger.unfinished() == ()
        assert ledger._slots_file.read() == ()
