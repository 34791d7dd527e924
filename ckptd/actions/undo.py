"""Restore, told and recorded."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

from ckptd.actions import trash
from ckptd.actions.lock import open_trash_of
from ckptd.actions.recorded import Tell, recorded
from ckptd.errors import CkptdError
from ckptd.ledger import Ledger, Record
from ckptd.model import TrashItem
from ckptd.mounts import asked
from ckptd.trash import opened


def restore(ledger: Ledger, tell: Tell, item: TrashItem, *, to: str | None) -> str:
    """The path at which *item* lies again: where it was, or in the directory *to*.

    RefusedError when the name is taken or its run is gone, ActionError when the system says no.
    """
    asked(item.place, partial(_take_refuge, ledger, item.place))
    record = Record(
        event="restore",
        at=time.time(),
        checkpoint=item.path,
        run=item.run,
        step=item.step,
        bytes=item.bytes,
        rule="restore",
        reason="asked for by ckptd restore" if to is None else f"asked for into {to}",
        details={"item": item.id, "place": item.place},
    )
    return recorded(ledger, tell, record, lambda: trash.restore(item, to=to), item.place)


def _take_refuge(ledger: Ledger, place: str) -> None:
    with suppress(CkptdError, OSError), opened(open_trash_of(place)) as trash_fd:
        ledger.take_refuge(place, place, trash_fd)
