"""At start: settles what a ckptd that died had begun, by what the disk shows."""

from __future__ import annotations

import os
from typing import Final, Literal

from ckptd import trash
from ckptd.actions import trash as acts
from ckptd.actions.recorded import Tell
from ckptd.errors import ActionError, LedgerError
from ckptd.ledger import Ledger, Record

Came = Literal["done", "failed", "dropped"]

CUT_SHORT: Final = "it was being unlinked; what is left of it is judged anew"
LOST: Final = "it is neither in its run nor in the trash; somebody else removed it"


def recover(ledger: Ledger, tell: Tell) -> None:
    """Gives every unfinished intent its outcome. A purge that had begun is finished.

    Where the trash cannot be seen now, the intent stays unfinished and waits for the next start.
    """
    for record in ledger.unfinished():
        try:
            outcome, error = _came_of(record)
            tell(ledger.conclude(record.id, outcome, error=error))
        except (ActionError, OSError, LedgerError):
            # Out of sight, or settled by another ckptd that starts at this moment.
            continue


def _came_of(record: Record) -> tuple[Came, str | None]:
    place = str(record.details.get("place", ""))
    if not place:
        return "failed", CUT_SHORT
    if record.event == "purge":
        acts.finish_purges(place)
        still = trash.find(place, str(record.details.get("item", "")))
        return ("dropped", None) if still else ("done", None)
    if record.event == "restore":
        still = trash.find(place, str(record.details.get("item", "")))
        return ("dropped", None) if still else ("done", None)
    if trash.find(place, record.id):
        return "done", None
    return ("dropped", None) if os.path.lexists(record.checkpoint) else ("failed", LOST)
