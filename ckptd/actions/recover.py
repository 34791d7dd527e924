"""At start: settles what a ckptd that died had begun, by what the disk shows."""

from __future__ import annotations

import os
from typing import Final, Literal

from ckptd import trash
from ckptd.actions import trash as acts
from ckptd.actions.recorded import Tell
from ckptd.errors import LedgerError
from ckptd.ledger import Ledger, Record

Came = Literal["done", "failed", "dropped"]

CUT_SHORT: Final = "it was being unlinked; what is left of it is judged anew"
LOST: Final = "it is neither in its run nor in the trash; somebody else removed it"


def recover(ledger: Ledger, tell: Tell) -> None:
    """Gives every unfinished intent its outcome. A purge that had begun is finished."""
    for record in ledger.unfinished():
        outcome, error = _came_of(record)
        try:
            tell(ledger.conclude(record.id, outcome, error=error))
        except LedgerError:
            continue  # another ckptd that starts at this moment has settled it


def _came_of(record: Record) -> tuple[Came, str | None]:
    place = str(record.details.get("place", ""))
    if not place:
        return "failed", CUT_SHORT
    if record.event == "purge":
        acts.finish_purges(place)
        still = trash.find(place, str(record.details.get("item", "")))
        return ("dropped", None) if still else ("done", None)
    in_run = os.path.lexists(record.checkpoint)
    in_trash = trash.find(place, record.id) is not None
    if record.event == "restore":
        return ("done", None) if in_run else ("dropped", None)
    if in_trash:
        return "done", None
    return ("dropped", None) if in_run else ("failed", LOST)
