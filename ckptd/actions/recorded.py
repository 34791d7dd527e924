"""Intent, act, outcome: durable in that order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeVar

from ckptd.errors import CkptdError, LedgerError
from ckptd.ledger import Ledger, Record

T = TypeVar("T")
Tell = Callable[[Record], None]


def recorded(ledger: Ledger, tell: Tell, record: Record, act: Callable[[], T]) -> T:
    """What *act* returns, with its intent in the ledger before and its outcome after it.

    Raises LedgerError when the intent could not be recorded: then nothing was done. What *act*
    raises is recorded and raised again. An outcome that the ledger cannot take is told all the
    same; its intent is settled by what lies on the disk at the next start.
    """
    ledger.intend(record)
    try:
        came = act()
    except (CkptdError, OSError) as error:
        tell(_concluded(ledger, record, "failed", str(error)))
        raise
    tell(_concluded(ledger, record, "done", None))
    return came


def _concluded(
    ledger: Ledger, record: Record, outcome: Literal["done", "failed"], error: str | None
) -> Record:
    try:
        return ledger.conclude(record.id, outcome, error=error)
    except LedgerError as lost:
        return replace(record, outcome=outcome, error=error or str(lost))
