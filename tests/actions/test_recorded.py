"""Intent, act, outcome: what is told and what is left when the ledger fails in between."""

import pytest

from ckptd.actions.recorded import recorded
from ckptd.errors import ActionError, OvertakenError
from ckptd.ledger import Ledger, LedgerView, Record


def record():
    return Record(event="evict", at=1.0, checkpoint="/r/checkpoint-5", run="/r")


def test_an_act_whose_outcome_the_ledger_cannot_take_is_told_as_done(tmp_path):
    ledger, told = Ledger(str(tmp_path)), []

    assert recorded(ledger, told.append, record(), lambda: ledger.close() or 7) == 7
    assert [(each.event, each.outcome) for each in told] == [("evict", "done")]
    assert [each.event for each in LedgerView.of(str(tmp_path)).unfinished()] == ["evict"]


def test_an_act_that_somebody_was_faster_than_is_dropped_and_calls_nobody(tmp_path):
    ledger, told = Ledger(str(tmp_path)), []

    def act():
        raise OvertakenError("it was pinned a moment ago, so it stays")

    with ledger, pytest.raises(OvertakenError):
        recorded(ledger, told.append, record(), act)
    assert [(each.event, each.outcome) for each in told] == [("evict", "dropped")]
    assert [each.outcome for each in LedgerView.of(str(tmp_path)).history()] == ["dropped"]


def test_an_act_that_failed_is_told_as_failed_although_the_ledger_failed_too(tmp_path):
    ledger, told = Ledger(str(tmp_path)), []

    def act():
        ledger.close()
        raise ActionError("the disk said no")

    with pytest.raises(ActionError, match="the disk said no"):
        recorded(ledger, told.append, record(), act)
    assert [(each.outcome, each.error) for each in told] == [("failed", "the disk said no")]
