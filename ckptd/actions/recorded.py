"""Intent, act, outcome: durable in that order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, Literal, TypeVar

from ckptd.errors import CkptdError, LedgerError, OvertakenError, StoppedError, UnansweredError
from ckptd.ledger import Ledger, Record
from ckptd.mounts import asked

T = TypeVar("T")
Tell = Callable[[Record], None]
Came = Literal["done", "failed", "dropped"]


TOO_LATE: Final = "its filesystem answered too late, so it was not gone on with"


def recorded(
    ledger: Ledger,
    tell: Tell,
    record: Record,
    act: Callable[[], T],
    place: str = "/",
    beat: Callable[[], None] = lambda: None,
) -> T:
    """What *act* returns, with its intent in the ledger before and its outcome after it.

    Raises LedgerError when the intent could not be recorded: then nothing was done. What *act*
    raises is recorded and raised again. An outcome that the ledger cannot take is told all the
    same; its intent is settled by what lies on the disk at the next start. Where the filesystem of
    *place* does not answer, UnansweredError, and the outcome is recorded once it has come; *beat*
    is called while it is waited for.
    """
    conclude = partial(_conclude, ledger, tell, record)
    ledger.intend(record)
    try:
        came = asked(place, act, beat, late=partial(_come_late, conclude))
    except (CkptdError, OSError) as error:
        if not (isinstance(error, UnansweredError) and error.under_way):
            conclude(_outcome(error), str(error))
        raise
    conclude("done", None)
    return came


def _outcome(error: Exception) -> Came:
    """Not a failure that somebody should look at, where somebody else came first."""
    return "dropped" if isinstance(error, OvertakenError) else "failed"


def _conclude(ledger: Ledger, tell: Tell, record: Record, outcome: Came, error: str | None) -> None:
    try:
        tell(ledger.conclude(record.id, outcome, error=error))
    except LedgerError as lost:
        tell(replace(record, outcome=outcome, error=error or str(lost)))


def _come_late(conclude: Callable[[Came, str | None], None], come: Callable[[], object]) -> None:
    try:
        come()
    except StoppedError:
        conclude("failed", TOO_LATE)
    except (CkptdError, OSError) as error:
        conclude(_outcome(error), str(error))
    else:
        conclude("done", None)
