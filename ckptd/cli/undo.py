"""`restore`: out of the trash, exactly as it was, and pinned."""

from __future__ import annotations

import argparse
import os

from ckptd import beneath, render, trash
from ckptd.actions import undo
from ckptd.cli.once import named_checkpoint
from ckptd.cli.start import recording
from ckptd.errors import CkptdError
from ckptd.ledger import LedgerView
from ckptd.model import TrashItem
from ckptd.units import show_text


def restore(arguments: argparse.Namespace) -> int:
    """`ckptd restore PATH|ID...`: 0, or 3 when a name is taken."""
    beneath.ignore_lease_signals()
    restored = []
    with recording(arguments, talk=False) as (ledger, tell):
        for asked in arguments.paths:
            item = _find(asked, ledger)
            restored.append(undo.restore(ledger, tell, item, to=arguments.to))
    if arguments.json:
        print(render.dumps(render.paths_json("restored", restored)))
    else:
        for path in restored:
            print(f"restored {show_text(path)}; it is pinned (ckptd unpin lets go of it)")
    return 0


def _find(asked: str, ledger: LedgerView) -> TrashItem:
    """The newest item that came from the path, or the one with the id, *asked* for."""
    items = list(_candidates(asked, ledger))
    if not items:
        raise CkptdError(
            f"nothing in the trash came from {show_text(asked)}",
            hint="ckptd why PATH says what became of it",
        )
    return max(items, key=lambda item: item.trashed_at)


def _candidates(asked: str, ledger: LedgerView) -> list[TrashItem]:
    if trash.ID.fullmatch(asked) and not os.path.lexists(asked):
        known = [record.run for record in ledger.history() if record.id == asked]
        places = [*known, os.getcwd()]
        return [item for place in places for item in trash.below(place)[0] if item.id == asked]
    path = named_checkpoint(asked)
    listed, _ = trash.below(os.path.dirname(path))
    return [item for item in listed if item.path == path]
