"""Where an item in the trash came from: what the ledger knows, and whose word counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from posixpath import basename
from typing import Final

from ckptd.errors import UnansweredError
from ckptd.ledger import LedgerView, Record
from ckptd.model import TRASH, ActionKind, TrashItem
from ckptd.mounts import reaching

INTO_TRASH: Final = frozenset({"evict", "set_aside"})


def recalling(ledger: LedgerView) -> Callable[[TrashItem], TrashItem]:
    """A function from an item without a sidecar to what *ledger* tells of it."""

    def recall(item: TrashItem) -> TrashItem:
        record = ledger.record(item.id)
        return _told(item, record) if record and record.event in INTO_TRASH else item

    return recall


def as_its_owner_may_say(item: TrashItem) -> TrashItem:
    """*item*, or an unknown one where its sidecar names a run of another user as its own.

    Whoever owns a shelf can put anything on it. Taken at its word, it could pass for the newest
    save that somebody else's run has left, and the true one would go. Root's shelf and ours hold
    what root and we put there.
    """
    try:
        with reaching(item.run):
            if item.uid in {0, os.geteuid()} or _owner(item.run) in {item.uid, None}:
                return item
    except UnansweredError:  # then nobody knows whose it is
        pass
    return replace(item, run=f"{item.place}/{TRASH}/{item.uid}", name=item.id, known=False)


def _owner(run: str) -> int | None:
    try:
        return os.lstat(run).st_uid
    except OSError:
        return None


def _told(item: TrashItem, record: Record) -> TrashItem:
    return replace(
        item,
        run=record.run,
        name=basename(record.checkpoint),
        step=record.step,
        bytes=record.bytes,
        saved_at=_moment(record.details.get("saved_at", 0.0)),
        trashed_at=_moment(record.at),
        action=ActionKind(record.event),
        weights_whole=bool(record.details.get("weights_whole")),
        reason=record.reason,
        known=True,
        trash_for=record.details.get("space_in", 0.0),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
