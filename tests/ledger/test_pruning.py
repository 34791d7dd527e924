"""The ledger does not grow for ever, and forgets nothing that somebody still asks for."""

import pytest

from ckptd.ledger import Ledger, Record, Save
from ckptd.units import DAY

NOW = 2_000_000_000.0


@pytest.fixture
def ledger(tmp_path):
    with Ledger(str(tmp_path / "state")) as ledger:
        yield ledger


def note(ledger, days, event="evict", *, told=True):
    record = Record(event=event, at=NOW - days * DAY, checkpoint=f"/r/{days}", run="/r")
    ledger.note(record)
    if told:
        ledger.mark_told([record.id])


def days_left(ledger):
    return [round((NOW - record.at) / DAY) for record in ledger.history()]


def save(ledger, run, number, days):
    at = NOW - days * DAY + number
    ledger.saw_save(Save(run=run, name=f"c-{number}", step=number, bytes=1, saved_at=at))


def test_records_of_more_than_400_days_go_unless_they_wait_to_be_told(ledger):
    for days in (1000, 401, 399, 0):
        note(ledger, days)
    note(ledger, 500, told=False)
    assert ledger.prune(NOW)
    assert days_left(ledger) == [500, 399, 0]


def test_a_clock_far_ahead_makes_nothing_old(ledger):
    note(ledger, 300)
    note(ledger, 0)
    assert ledger.prune(NOW + 5000 * DAY)
    assert days_left(ledger) == [300, 0]


def test_intents_and_adoptions_stay_whatever_their_age(ledger):
    ledger.intend(Record(event="evict", at=NOW - 1000 * DAY, checkpoint="/r/c", run="/r"))
    ledger.adopt("/r", 5)
    assert ledger.prune(NOW)
    assert [r.outcome for r in ledger.history(events=["evict"])] == ["intended"]
    assert ledger.is_adopted("/r", 5)


def test_the_newest_200_saves_of_a_run_stay(ledger):
    for number in range(230):
        save(ledger, "/", number, days=1)
    assert ledger.prune(NOW)
    left = ledger.saves("/", limit=1000)
    assert [s.step for s in left] == list(range(30, 230))


def test_the_saves_of_a_run_that_is_gone_for_half_a_year_go(ledger, tmp_path):
    here, gone = str(tmp_path), str(tmp_path / "gone")
    for run, days in ((here, 300), (gone, 300), (f"{gone}-lately", 100)):
        save(ledger, run, 1, days)
    assert ledger.prune(NOW)
    kept = [run for run in (here, gone, f"{gone}-lately") if ledger.saves(run)]
    assert kept == [here, f"{gone}-lately"]
