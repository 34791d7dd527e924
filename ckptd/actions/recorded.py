"""Intent, act, outcome: durable in that order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ckptd.errors import CkptdError
from ckptd.ledger import Ledger, Record

T = TypeVar("T")
Tell = Callable[[Record], None]


def recorded(ledger: Ledger, tell: Tell, record: Record, act: Callable[[], T]) -> T:
    """What *act* returns, with its intent in the ledger before and its outcome after it.

    Raises LedgerError when the intent could not be recorded: then nothing was done. What *act*
    raises is recorded and raised again.
    """
    ledger.intend(record)
    try:
        came = act()
    except (CkptdError, OSError) as error:
        tell(ledger.conclude(record.id, "failed", error=str(error)))
        raise
    tell(ledger.conclude(record.id, "done"))
    return came
