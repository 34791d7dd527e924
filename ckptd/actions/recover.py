"""At start: settles what a ckptd that died had begun, by what the disk shows."""

from __future__ import annotations

import os
from functools import partial
from typing import Final, Literal

from ckptd import beneath, scan, trash
from ckptd.actions import removing
from ckptd.actions import trash as acts
from ckptd.actions.recorded import Tell
from ckptd.errors import CkptdError
from ckptd.ledger import Ledger, Record
from ckptd.mounts import asked

Came = Literal["done", "failed", "dropped"]

CUT_SHORT: Final = "it was being unlinked; what is left of it is judged anew"
LOST: Final = "it is neither in its run nor in the trash; somebody else removed it"


def recover(ledger: Ledger, tell: Tell) -> None:
    """Gives every unfinished intent its outcome. An unlinking that had begun is finished.

    Where the trash cannot be seen now, or nobody answers there, the intent stays unfinished and
    waits for the next start.
    """
    for record in ledger.unfinished():
        try:
            place = str(record.details.get("place", "")) or record.run
            outcome, error = asked(place, partial(_came_of, record))
            tell(ledger.conclude(record.id, outcome, error=error))
        except (CkptdError, OSError):
            # Out of sight, or settled by another ckptd that starts at this moment.
            continue


def _came_of(record: Record) -> tuple[Came, str | None]:
    place = str(record.details.get("place", ""))
    if not place:
        return _came_of_removal(record)
    into_trash = record.event not in ("purge", "restore")
    item = record.id if into_trash else str(record.details.get("item", ""))
    if record.event == "purge":
        acts.finish_purges(place)
    lies_there = trash.find(place, item) is not None
    # A sidecar is written before its item comes and unlinked after it went.
    acts.forget(place, item)
    if not into_trash:
        return ("dropped", None) if lies_there else ("done", None)
    if lies_there:
        return "done", None
    return ("dropped", None) if os.path.lexists(record.checkpoint) else ("failed", LOST)


def _came_of_removal(record: Record) -> tuple[Came, str | None]:
    """Of an act that unlinks in the run itself, for want of a trash."""
    if removing.finish_removal(record.run, record.id) or not os.path.lexists(record.checkpoint):
        return "done", None
    run, _, name = record.checkpoint.rpartition("/")
    with trash.opened(beneath.open_directory(run)) as run_fd:
        now = scan.identity(scan.tree(run_fd, name))
    whole = now.digest == record.details.get("content")
    return ("dropped", None) if whole else ("failed", CUT_SHORT)
