"""`restore`: out of the trash, exactly as it was, and pinned."""

from __future__ import annotations

import argparse
import os
from functools import partial

from ckptd import beneath, render, trash
from ckptd.actions import undo
from ckptd.actions.refuge import reopen
from ckptd.cli.once import named_checkpoint
from ckptd.cli.start import recording
from ckptd.errors import CkptdError
from ckptd.ledger import Ledger, LedgerView
from ckptd.model import TrashItem
from ckptd.mounts import asked_around, reaching
from ckptd.observe import as_its_owner_may_say, recalling
from ckptd.units import show_text


def restore(arguments: argparse.Namespace) -> int:
    """`ckptd restore PATH|ID...`: 0, or 3 when a name is taken."""
    beneath.ignore_lease_signals()
    restored = []
    with recording(arguments, talk=False) as (ledger, audit):
        for named in arguments.paths:
            item = asked_around(partial(_find, named, ledger))
            restored.append(undo.restore(ledger, audit.tell, item, to=arguments.to))
    if arguments.json:
        print(render.dumps(render.paths_json("restored", restored)))
    else:
        for path in restored:
            print(f"restored {show_text(path)}; it is pinned (ckptd unpin lets go of it)")
    return 0


def _find(named: str, ledger: Ledger) -> TrashItem:
    """The newest item that came from the path, or the one with the id, *named*."""
    with reaching(path := os.path.abspath(named)):
        reopen(ledger, [path])
    items = list(_candidates(named, ledger))
    if not items:
        raise CkptdError(
            f"nothing in the trash came from {show_text(named)}",
            hint="ckptd why PATH says what became of it",
        )
    # Whoever has a shelf can claim any path on it: the word of the run's owner comes first.
    return max(items, key=lambda item: (as_its_owner_may_say(item).known, item.trashed_at))


def _candidates(named: str, ledger: LedgerView) -> list[TrashItem]:
    if trash.ID.fullmatch(named) and not os.path.lexists(named):
        record = ledger.record(named)
        runs = [*([record.run] if record else []), os.getcwd()]
        return [item for run in runs for item in _trash_of(run, ledger) if item.id == named]
    path = named_checkpoint(named)
    return [item for item in _trash_of(os.path.dirname(path), ledger) if item.path == path]


def _trash_of(run: str, ledger: LedgerView) -> tuple[TrashItem, ...]:
    with reaching(run):
        return trash.below(run, recall=recalling(ledger))[0]
