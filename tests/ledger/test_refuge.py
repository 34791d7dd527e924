"""A second place for intents, in the trash: what the ledger's own disk does not take, it takes."""

import os
import shutil
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ckptd.errors import LedgerError
from ckptd.ledger import Ledger, Record
from ckptd.ledger.blocks import BLOCK
from ckptd.ledger.refuge import COUNT, Refuge


@pytest.fixture
def place(tmp_path):
    (tmp_path / "data" / ".ckptd-trash").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def act(place, name="c", **fields):
    path = f"{place}/run/{name}"
    return Record(event="evict", at=1.0, checkpoint=path, run=f"{place}/run", **fields)


def file_of(place, number=0):
    behind = f"-{number}" if number else ""
    return place / ".ckptd-trash" / f"{os.geteuid()}{behind}.intents"


@contextmanager
def trash_of(place):
    fd = os.open(place / ".ckptd-trash", os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened(state, place):
    """A ledger that has a refuge in the trash of *place*."""
    with Ledger(str(state)) as ledger, trash_of(place) as fd:
        ledger.take_refuge(str(place), str(place), fd)
        yield ledger


@contextmanager
def failing(state):
    """The state directory cannot be reached: something else lies at its path."""
    away = state.with_name("away")
    state.rename(away)
    state.write_text("no directory any more")
    yield
    state.unlink()
    away.rename(state)


def history(state):
    return [(r.checkpoint.rpartition("/")[2], r.outcome) for r in Ledger.read_only(state).history()]


def test_an_act_from_intent_to_outcome_moves_home_once_that_can_be_written(state, place):
    with opened(state, place) as ledger:
        assert ledger.trouble is None
        with failing(state):
            record = ledger.intend(act(place))
            assert [r.id for r in ledger.history()] == [record.id]
            ledger.conclude(record.id, "done", bytes=7)
            ledger.mend()
            assert "cannot be made" in ledger.trouble
            assert f"is recorded in {place}/.ckptd-trash" in ledger.trouble
            assert ledger.record(record.id).outcome == "done"
        ledger.mend()
        assert ledger.trouble is None
        assert ledger._slots_file.read() == ()
        assert ledger.record(record.id).bytes == 7
        assert history(str(state)) == [("c", "done")]


def test_an_intent_of_a_process_that_died_is_found_by_the_next(state, place):
    with opened(state, place) as ledger, failing(state):
        record = ledger.intend(act(place))
        settled = ledger.intend(act(place, "d"))
        ledger.conclude(settled.id, "done")
    with opened(state, place) as later:
        assert [r.id for r in later.unfinished()] == [record.id]
        later.conclude(record.id, "dropped")
        assert later.unfinished() == ()
        later.drain()
        assert later._slots_file.read() == ()
    assert sorted(history(str(state))) == [("c", "dropped"), ("d", "done")]


def test_an_intent_whose_process_lives_is_not_unfinished(state, place):
    with opened(state, place) as ledger, failing(state):
        record = ledger.intend(act(place))
        with opened(state.with_name("other"), place) as other:
            assert other.unfinished() == ()
        ledger.conclude(record.id, "done")


def test_an_outcome_that_only_the_refuge_takes_settles_what_was_intended_at_home(state, place):
    with opened(state, place) as ledger:
        record = ledger.intend(act(place))
        with failing(state):
            ledger.conclude(record.id, "done", bytes=3)
    with opened(state, place) as later:
        assert later.unfinished() == ()
        later.drain()
        assert later._slots_file.read() == ()
        assert [(r.outcome, r.bytes) for r in later.history()] == [("done", 3)]


def test_facts_are_written_once_home_can_be_and_who_was_adopted_stays_so(state, place):
    with opened(state, place) as ledger:
        with failing(state):
            assert not ledger.note(Record(event="refuse", at=1.0, reason="because"))
            with pytest.raises(LedgerError, match="cannot be made"):
                ledger.adopt("/r", 5)
            assert ledger.is_adopted("/r", 5)
        ledger.mend()
        assert [r.event for r in ledger.history()] == ["refuse", "adopt"]
        assert ledger.untold(0.0, 2e9, (), 9) == [], "they were told when they came"
    with Ledger(str(state)) as later:
        assert later.adopted() == {"/r": 5}


def test_what_was_told_there_is_not_told_again_at_home(state, place):
    with opened(state, place) as ledger:
        with failing(state):
            told, waits = (ledger.intend(act(place, name)) for name in "ab")
            for record in (told, waits):
                ledger.conclude(record.id, "done")
            assert [r.id for r in ledger.untold(0.0, 2.0, (), 9)] == [told.id, waits.id]
            assert ledger.mark_told([told.id])
            assert [r.id for r in ledger.untold(0.0, 2.0, (), 9)] == [waits.id]
        ledger.mend()
        assert ledger._slots_file.read() == ()
        assert [r.id for r in ledger.untold(0.0, 2.0, (), 9)] == [waits.id]


def test_more_acts_than_one_file_holds_are_recorded_and_the_room_is_given_back(state, place):
    with opened(state, place) as ledger:
        with failing(state):
            for number in range(3 * COUNT):
                ledger.conclude(ledger.intend(act(place, str(number))).id, "done")
            assert file_of(place, 2).exists()
        ledger.mend()
        assert len(list(ledger.history())) == 3 * COUNT
        assert not file_of(place, 1).exists()
        assert file_of(place).exists()


def test_writing_to_it_allocates_nothing(state, place):
    with opened(state, place) as ledger, failing(state):
        before = file_of(place).stat().st_blocks
        for number in range(COUNT):
            ledger.conclude(ledger.intend(act(place, str(number))).id, "done")
        assert before * 512 >= 2 * COUNT * BLOCK
        assert file_of(place).stat().st_blocks == before


def test_what_is_not_below_its_place_is_not_recorded_there_and_not_believed(state, place):
    with opened(state, place) as ledger, failing(state):
        with pytest.raises(LedgerError, match="nothing is let go"):
            ledger.intend(act("/elsewhere"))
        kept = ledger.intend(act(place))
    with trash_of(place) as fd, closing(Refuge(str(place), fd)) as refuge:
        (file,) = refuge._files
        for other in (act("/elsewhere"), Record(event="adopt", at=1.0, run=f"{place}/run")):
            assert file.keep(other)
        assert len(file.read()) == 3
    with opened(state, place) as later:
        assert [r.id for r in later.unfinished()] == [kept.id]
        assert [s.record.id for s in later._slots_file.read()] == [kept.id]
        assert later.adopted() == {}


def linked(file):
    os.link(file.parent.parent / "victim", file)


def linked_softly(file):
    file.symlink_to(file.parent.parent / "victim")


def open_to_all(file):
    file.touch()
    file.chmod(0o666)


def of_somebody_else(file):
    if os.geteuid():
        pytest.skip("needs root")
    file.touch(0o600)
    os.chown(file, 1500, 1500)


@pytest.mark.parametrize("forged", [linked, linked_softly, open_to_all, of_somebody_else])
def test_a_file_that_others_have_a_hand_in_is_no_refuge(state, place, forged):
    victim = place / "victim"
    victim.write_bytes(b"precious")
    victim.chmod(0o600)
    forged(file_of(place))
    with (
        Ledger(str(state)) as ledger,
        trash_of(place) as fd,
        pytest.raises(LedgerError, match=r"cannot be laid out"),
    ):
        ledger.take_refuge(str(place), str(place), fd)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("what", ["its file", "the trash"])
def test_one_that_was_removed_is_made_anew(state, place, what):
    with opened(state, place) as ledger:
        if what == "its file":
            file_of(place).unlink()
        else:
            shutil.rmtree(place / ".ckptd-trash")
            assert not ledger.has_refuge(str(place))
            (place / ".ckptd-trash").mkdir()
            with trash_of(place) as fd:
                ledger.take_refuge(str(place), str(place), fd)
        assert ledger.has_refuge(str(place))
        with failing(state):
            record = ledger.intend(act(place))
    with opened(state, place) as later:
        assert [r.id for r in later.unfinished()] == [record.id]


def test_no_descriptor_is_left_open(state, place):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with opened(state, place) as ledger, failing(state):
            ledger.intend(act(place))
    assert len(os.listdir("/proc/self/fd")) == before
    assert Path(state, "intents").exists()
