"""What the ledger knows of an item in the trash whose sidecar found no room on a full disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from posixpath import basename
from typing import Final

from ckptd.ledger import LedgerView, Record
from ckptd.model import ActionKind, TrashItem

INTO_TRASH: Final = frozenset({"evict", "set_aside"})


def recalling(ledger: LedgerView) -> Callable[[TrashItem], TrashItem]:
    """A function from an item without a sidecar to what *ledger* tells of it."""

    def recall(item: TrashItem) -> TrashItem:
        record = ledger.record(item.id)
        return _told(item, record) if record and record.event in INTO_TRASH else item

    return recall


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
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
