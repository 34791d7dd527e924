"""Which records the journal was told, and which wait to be told."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager

from ckptd.errors import LedgerError
from ckptd.ledger.database import Database
from ckptd.ledger.held import Slot
from ckptd.ledger.record import Record, unpacked
from ckptd.ledger.slotfiles import SlotFiles
from ckptd.ledger.statements import LET_BE, TOLD, TOLD_LAST, UNTELL, UNTOLD
from ckptd.ledger.view import LedgerView


class Telling(LedgerView):
    """A ledger that remembers what was told of it."""

    _database: Database
    _slots_file: SlotFiles
    _order: threading.RLock
    _behind: bool

    @abstractmethod
    def drain(self) -> int:
        """Moves what waits in slots to SQLite; how many records. Cheap when nothing waits."""

    @abstractmethod
    def _failed(self, error: LedgerError) -> None:
        """The ledger's own disk did not do what was asked of it."""

    def untold(self, since: float, before: float, also: Sequence[str], limit: int) -> list[Record]:
        """The first *limit* records that were not told, in the ledger's order.

        Those made *since* one moment and *before* another one, *also* the ones with these ids.
        While SQLite cannot be written, only what waits for it in slots is found.
        """
        marks = ",".join("?" * len(also))
        with self._order:
            rows = self._database.rows_to_change(UNTOLD % marks, (since, before, *also, limit))
            read = (unpacked(body) for (body,) in rows or ())
            found = {record.id: record for record in read if record}
            for slot in self._waiting_slots():
                if not slot.told and (since <= slot.record.at < before or slot.record.id in also):
                    found.setdefault(slot.record.id, slot.record)
            return list(found.values())[:limit]

    def told_last(self, before: float, span: float, limit: int) -> list[str]:
        """The ids of records that were told, in the ledger's order: the last *limit* of those made

        *before* a moment, and within the last *span* seconds in which any was.
        """
        rows = self._database.rows_to_change(TOLD_LAST, (before, before, span, limit))
        return [ident for (ident,) in reversed(rows or ())]

    def mark_told(self, idents: Collection[str]) -> bool:
        """Remembers that these records were told; False when that could not be written.

        A power failure may undo it.
        """
        left = set(idents)
        with self._order:
            try:
                for slot in self._waiting_slots():
                    if slot.record.id in left:
                        self._slots_file.mark_told(slot.record.id)
                        left.remove(slot.record.id)
            except LedgerError as error:
                self._failed(error)
                return False
            told = [(TOLD, (ident,)) for ident in left]
            return not told or self._database.write(told, durable=False)

    def mark_untold(self, idents: Collection[str]) -> bool:
        """Remembers that these records wait to be told again; False when that cannot be written."""
        with self._order:
            self.drain()
            untold = [(UNTELL, (ident,)) for ident in idents]
            return not self._behind and self._database.write(untold, durable=False)

    def _waiting_slots(self) -> list[Slot]:
        return [slot for slot in self._slots() if slot.settled] if self._behind else []

    def let_be(self, before: float) -> None:
        """Takes what was not told *before* a moment off the list of what waits to be told."""
        self._database.write([(LET_BE, (before,))], durable=False)

    def telling(self) -> AbstractContextManager[bool]:
        """Whether no other process tells what waits, and none will until this ends."""
        return self._slots_file.telling()
