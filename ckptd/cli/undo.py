"""`restore`: out of the trash, exactly as it was, and pinned."""

from __future__ import annotations

import argparse
import os

from ckptd import beneath, render, trash
from ckptd.actions import undo
from ckptd.actions.refuge import reopen
from ckptd.cli.once import named_checkpoint
from ckptd.cli.start import recording
from ckptd.errors import CkptdError
from ckptd.ledger import LedgerView
from ckptd.model import TrashItem
from ckptd.observe import as_its_owner_may_say, recalling
from ckptd.units import show_text


def restore(arguments: argparse.Namespace) -> int:
    """`ckptd restore PATH|ID...`: 0, or 3 when a name is taken."""
    beneath.ignore_lease_signals()
    restored = []
    with recording(arguments, talk=False) as (ledger, audit):
        for asked in arguments.paths:
            reopen(ledger, [os.path.abspath(asked)])
            item = _find(asked, ledger)
            restored.append(undo.restore(ledger, audit.tell, item, to=arguments.to))
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
    # Whoever has a shelf can claim any path on it: the word of the run's owner comes first.
    return max(items, key=lambda item: (as_its_owner_may_say(item).known, item.trashed_at))


def _candidates(asked: str, ledger: LedgerView) -> list[TrashItem]:
    if trash.ID.fullmatch(asked) and not os.path.lexists(asked):
        record = ledger.record(asked)
        runs = [*([record.run] if record else []), os.getcwd()]
        return [item for run in runs for item in _trash_of(run, ledger) if item.id == asked]
    path = named_checkpoint(asked)
    return [item for item in _trash_of(os.path.dirname(path), ledger) if item.path == path]


def _trash_of(run: str, ledger: LedgerView) -> tuple[TrashItem, ...]:
    return trash.below(run, recall=recalling(ledger))[0]
