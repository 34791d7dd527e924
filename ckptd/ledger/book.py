"""The ledger open for writing: intent, act, outcome, durable in that order."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, Self

from ckptd.errors import LedgerError
from ckptd.ledger.database import Database, Statement
from ckptd.ledger.record import Record, Save, pack, step_text
from ckptd.ledger.slots import Slot, Slots
from ckptd.ledger.view import DATABASE, SLOT_FILE, LedgerView
from ckptd.units import show_text

_LARGEST: Final = 2**63 - 1  # what an integer of SQLite holds
# Each may run twice for the same thing: a crash can come between SQLite and the slot.
_REMEMBER: Final = (
    "INSERT INTO records (id, at, event, outcome, checkpoint, run, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)
_ADOPT: Final = (
    "INSERT INTO adopted (run, inode) VALUES (?, ?)"
    " ON CONFLICT (run) DO UPDATE SET inode = excluded.inode"
)
_SAVE: Final = (
    "INSERT INTO saves (run, name, saved_at, step, bytes, duration)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


class Ledger(LedgerView):
    """The durable memory in *state_dir*, shared by the processes of one user.

    Creates the directory (0700) and lays the slots out; LedgerError says when it cannot. On a
    filesystem that other hosts write to (`shared`), SQLite goes without shared memory. Several
    threads may use one Ledger.
    """

    def __init__(self, state_dir: str, *, shared: bool = False) -> None:
        _make_directory(state_dir)
        self._slots_file = Slots(os.path.join(state_dir, SLOT_FILE))
        self._database = Database(os.path.join(state_dir, DATABASE), wal=not shared)
        super().__init__(self._slots_file, self._database)
        if self._slots_file.torn:
            text = (
                f"{self._slots_file.torn} records of {show_text(state_dir)} were written in part;"
                " their acts had not begun, or are looked at again"
            )
            self._alarms[text] = None
        self._database.rows("SELECT 1")  # made now, as there may be no room for it later
        self._order = threading.RLock()
        self._behind = True  # an earlier process may have left records in slots
        self.drain()

    @staticmethod
    def read_only(state_dir: str) -> LedgerView:
        """The facts of *state_dir*, which may be absent or unreadable; creates nothing."""
        return LedgerView.of(state_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends it; an intent without an outcome is unfinished from now on."""
        self._database.close()
        self._slots_file.close()

    def intend(self, record: Record) -> Record:
        """The record as it is written, durably, before its act begins.

        Works on a full disk. LedgerError: it could not be recorded, so the act must not begin.
        """
        intended = replace(record, outcome="intended")
        self._slots_file.intend(intended)
        return intended

    def conclude(
        self,
        ident: str,
        outcome: Literal["done", "failed", "dropped"],
        *,
        bytes: int | None = None,  # noqa: A002  the word of the record
        error: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Record:
        """The record of intent *ident* with its outcome, durable before this returns.

        `bytes` replaces what was intended, `details` are added. While SQLite cannot take it, it
        stays in its slot until `drain`. LedgerError: there is no such intent, or the disk failed.
        """
        slot = self._slot_of(ident)
        record = replace(
            slot.record,
            outcome=outcome,
            bytes=slot.record.bytes if bytes is None else bytes,
            error=error,
            details={**slot.record.details, **(details or {})},
        )
        with self._order:
            if self._store(record, durable=True):
                self._slots_file.free(slot)
            else:
                self._slots_file.settle(slot, record)
        return record

    def note(self, record: Record) -> bool:
        """Remembers a fact that no act hangs on; False when there is no place left for it."""
        try:
            return self._remember(record, durable=False)
        except LedgerError as error:
            self._alarms[str(error)] = None
            return False

    def adopt(self, run: str, inode: int, *, reason: str = "") -> Record | None:
        """Remembers, durably, that ckptd may act on *run*; None when it was known already.

        *inode* is the directory's: another directory at the same path is not adopted.
        LedgerError: it could not be recorded.
        """
        if self.is_adopted(run, inode):
            return None
        record = Record(
            event="adopt", at=time.time(), run=run, reason=reason, details={"inode": inode}
        )
        if not self._remember(record, durable=True):
            raise LedgerError(
                f"that {show_text(run)} is adopted could not be recorded: the state directory"
                " has no room"
            )
        return record

    def saw_save(self, save: Save) -> bool:
        """Remembers a complete save; the same one again changes nothing. False: no room now."""
        values = (
            os.fsencode(save.run),
            os.fsencode(save.name),
            save.saved_at,
            step_text(save.step),
            min(save.bytes, _LARGEST),
            save.duration,
        )
        return self._database.write([(_SAVE, values)], durable=False)

    def drain(self) -> int:
        """Moves what waits in slots to SQLite; how many records. Cheap when nothing waits."""
        with self._order:
            moved = 0
            waiting = self._slots_file.read() if self._behind else ()
            for slot in waiting:
                if slot.settled or (not slot.live and self._concluded(slot.record.id)):
                    if not self._database.write(_statements(slot.record), durable=True):
                        return moved
                    self._slots_file.free(slot)
                    moved += slot.settled
            self._behind = False
            return moved

    def _remember(self, record: Record, *, durable: bool) -> bool:
        with self._order:
            return self._store(record, durable=durable) or self._slots_file.keep(record)

    def _store(self, record: Record, *, durable: bool) -> bool:
        stored = self._database.write(_statements(record), durable=durable)
        if stored:
            self.drain()
        else:
            self._behind = True
        return stored

    def _slot_of(self, ident: str) -> Slot:
        for slot in self._slots_file.read():
            if slot.record.id == ident and not slot.settled:
                return slot
        raise LedgerError(f"the ledger holds no intent {ident!a}")


def _statements(record: Record) -> Sequence[Statement]:
    """How SQLite takes *record*, and an adoption with it."""
    run = os.fsencode(record.run)
    remember = (
        record.id,
        record.at,
        record.event,
        record.outcome,
        os.fsencode(record.checkpoint),
        run,
        pack(record),
    )
    if record.event != "adopt":
        return [(_REMEMBER, remember)]
    return [(_REMEMBER, remember), (_ADOPT, (run, str(record.details["inode"])))]


def _make_directory(path: str) -> None:
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"the state directory {show_text(path)} cannot be made: {error.strerror};"
            " without it nothing is let go",
            hint="name another one with --state",
        ) from error
