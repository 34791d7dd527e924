"""The ledger open for writing: intent, act, outcome, durable in that order."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, Self

from ckptd.errors import LedgerError
from ckptd.ledger.database import Database
from ckptd.ledger.ground import Ground
from ckptd.ledger.held import Slot
from ckptd.ledger.record import Record, Save
from ckptd.ledger.slotfiles import SlotFiles, fact_of
from ckptd.ledger.slots import TooLongError
from ckptd.ledger.statements import (
    RUNS,
    forgetting,
    having_saved,
    remembering,
)
from ckptd.ledger.telling import Telling
from ckptd.ledger.view import DATABASE, SLOT_FILE, LedgerView
from ckptd.model import TRASH
from ckptd.units import show_text

_MOST_LATER: Final = 1000  # facts that a process keeps in mind until a disk takes them


class Ledger(Telling):
    """The durable memory in *state_dir*, shared by the processes of one user.

    Creates the directory (0700) and lays the slots out; LedgerError says when it cannot. `wal`
    is for a filesystem whose maps can be relied on (`disk.maps_hold`). Several
    threads may use one Ledger.
    """

    def __init__(self, state_dir: str, *, wal: bool = True) -> None:
        _make_directory(state_dir)
        self._state_dir = state_dir
        self._ground = Ground(state_dir)
        self._known: dict[str, int] = {}  # the adopted runs, as long as the state directory stood
        self._under_way: dict[str, Record] = {}
        self._owed: dict[str, Record] = {}  # outcomes that no disk has taken yet
        self._later: dict[str, Record] = {}  # facts that no disk has taken yet
        self._slots_file = SlotFiles(os.path.join(state_dir, SLOT_FILE))
        self._database = Database(os.path.join(state_dir, DATABASE), self._ground, wal=wal)
        super().__init__(self._slots_file, self._database)
        if self._slots_file.torn:
            self._alarms[_torn_text(state_dir, self._slots_file)] = None
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

        Works on a full disk, and where the ledger's own disk fails, in a refuge that was offered.
        LedgerError: it could not be recorded anywhere, so the act must not begin.
        """
        intended = replace(record, outcome="intended")
        try:
            self._be_there()
            self._slots_file.own.intend(intended)
            self._slots_file.failure = None
        except TooLongError:
            raise
        except LedgerError as error:
            self._failed(error)
            self._slots_file.intend_in_refuge(intended, error)
        self._under_way[intended.id] = intended
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
        stays in its slot until `drain`. LedgerError: there is no such intent, or the disk failed;
        then `drain` tries again as long as this process lives, and the next start after it.
        """
        begun = self._under_way.pop(ident, None) or self._slot_of(ident).record
        record = replace(
            begun,
            outcome=outcome,
            bytes=begun.bytes if bytes is None else bytes,
            error=error,
            details={**begun.details, **(details or {})},
        )
        with self._order:
            try:
                self._settle(record)
            except LedgerError:
                self._owed[ident] = record
                self._behind = True
                raise
        return record

    def _settle(self, record: Record) -> None:
        failure = self._absence()
        if failure is None and self._store(record, durable=True):
            self._slots_file.free(record.id)
            return
        try:
            self._slots_file.settle(record, own=failure is None)
        except LedgerError as error:
            raise failure or error from error

    def _pay(self) -> None:
        """Writes the outcomes that could not be written when they came. LedgerError."""
        for record in tuple(self._owed.values()):
            try:
                self._slots_file.settle(record, own=True)
            except LedgerError:
                # Its intent may be gone with the file that it lay in.
                if not self._database.write(remembering(record), durable=True):
                    raise
            del self._owed[record.id]

    def note(self, record: Record) -> bool:
        """Remembers a fact that no act hangs on; False when there is no place left for it.

        Then this process still knows it, and writes it once a disk takes it.
        """
        try:
            self._be_there()
            kept = self._remember(record, durable=False)
        except LedgerError as error:
            self._failed(error)
            kept = False
        if not kept:
            self._write_later(record)
        return kept

    def adopt(self, run: str, inode: int, *, reason: str = "") -> Record | None:
        """Remembers, durably, that ckptd may act on *run*; None when it was known already.

        *inode* is the directory's: another directory at the same path is not adopted.
        LedgerError: it could not be recorded; this process knows it all the same.
        """
        if self.is_adopted(run, inode):
            return None
        record = _adoption(run, inode, reason)
        try:
            self._be_there()
            kept = self._remember(record, durable=True)
        except LedgerError as error:
            self._failed(error)
            self._write_later(record)
            raise
        if not kept:
            self._write_later(record)
            raise LedgerError(
                f"that {show_text(run)} is adopted could not be recorded: the state directory"
                " has no room"
            )
        return record

    def _write_later(self, record: Record) -> None:
        """Who was adopted is kept in mind in any case; of the rest the newest."""
        self._later[record.id] = record
        self._behind = True
        if record.event == "adopt":
            self._known[record.run] = record.details["inode"]
        elif len(self._later) > _MOST_LATER:
            facts = (ident for ident, fact in self._later.items() if fact.event != "adopt")
            del self._later[next(facts)]

    def saw_save(self, save: Save) -> bool:
        """Remembers a complete save; the same one again changes nothing. False: no room now."""
        return self._database.write([having_saved(save)], durable=False)

    def drain(self) -> int:
        """Moves what waits in slots to SQLite; how many records. Cheap when nothing waits."""
        with self._order:
            moved = 0
            try:
                self._pay()
                for slot in self._slots_file.read() if self._behind else ():
                    if slot.settled or (not slot.live and self._concluded(slot.record.id)):
                        record = remembering(slot.record, told=slot.told)
                        if not self._database.write(record, durable=True):
                            return moved
                        self._slots_file.free(slot.record.id)
                        moved += slot.settled
                if moved:
                    self._slots_file.tidy()
            except LedgerError as error:
                self._failed(error)
                return moved
            self._behind = not self._written_later() or bool(self._owed)
            return moved

    def _written_later(self) -> bool:
        """Whether what only this process knows is written now: it was told when it came."""
        for record in tuple(self._later.values()):
            if not self._database.write(remembering(record, told=True), durable=False):
                return False
            del self._later[record.id]
        return True

    # --- a disk that fails ---------------------------------------------------------------

    @property
    def trouble(self) -> str | None:
        """What is wrong with the ledger's own disk at this moment, and what follows; None: nothing.

        It is known from the last try to write there.
        """
        failure = self._slots_file.failure
        if failure is None:
            return None
        where = ", ".join(show_text(f"{place}/{TRASH}") for place in self._slots_file.places)
        meanwhile = f"what is let go is recorded in {where}" if where else "nothing is let go"
        way = f"mend its disk, or {failure.hint or 'name another state directory with --state'}"
        return f"{fact_of(failure)}; until it can, {meanwhile}; {way}"

    def mend(self) -> None:
        """Tries again what failed: writes to the own disk, and moves there what waited."""
        if self._slots_file.failure is None and not self._behind:
            return
        with self._order:
            try:
                self._be_there()
                if self._slots_file.failure is not None:
                    self._slots_file.own.probe()
            except LedgerError as error:
                self._failed(error)
                return
            self._slots_file.failure = None
            self.drain()

    def has_refuge(self, watch: str) -> bool:
        """Whether acts in *watch* can be recorded in a trash where the ledger's disk fails."""
        return self._slots_file.has_refuge(watch)

    def take_refuge(self, watch: str, place: str, trash_fd: int) -> None:
        """From now on they can, in the open trash of *place*. LedgerError."""
        with self._order:
            self._slots_file.take_refuge(watch, place, trash_fd)
            self._behind = True  # an earlier process may have left records there

    def _failed(self, error: LedgerError) -> None:
        self._slots_file.failure = self._slots_file.failure or error
        self._behind = True

    def prune(self, now: float) -> bool:
        """Forgets what nobody asks for any more; False when that could not be written.

        Records of more than 400 days, unless they still wait to be told; all but the newest saves
        of a run; those of a run that is gone and has not saved for half a year. Never an intent
        or an adoption.
        """
        runs = self._database.rows(RUNS)
        return self._database.write(forgetting(now, runs), durable=False)

    # --- the state directory itself ------------------------------------------------------

    def adopted(self) -> Mapping[str, int]:
        """The inode of each adopted run's directory, by its path.

        Also of those that were known when the state directory was removed.
        """
        self._known = {**self._known, **super().adopted()}
        return self._known

    def _be_there(self) -> None:
        """Makes the state directory anew when somebody has removed it. LedgerError: it cannot be.

        What is under way, what waits, and which runs are adopted is still known.
        """
        with self._order:
            if self._ground.is_away(SLOT_FILE):
                raise LedgerError(
                    f"the state directory {show_text(self._state_dir)} cannot be written: the"
                    " filesystem that it lay on is not mounted; without it nothing is let go",
                    hint="name another one with --state",
                )
            own = self._slots_file.own
            if not own.is_gone:
                return
            _make_directory(self._state_dir)
            replaced = os.path.lexists(own.path)
            own.renew()
            self._ground.renew()
            self._behind = True
            for run, inode in self._known.items():
                self._remember(_adoption(run, inode, "it was adopted before"), durable=True)
            shown = show_text(self._state_dir)
            text = (
                f"the state directory {shown} is another one than when ckptd started; it goes on"
                " there with what lies there"
                if replaced
                else f"the state directory {shown} was removed while ckptd ran and has been made"
                " anew; the history until then is gone"
            )
            self._alarms[text] = None

    def _absence(self) -> LedgerError | None:
        """Why the own slots cannot be reached; None when they can."""
        try:
            self._be_there()
        except LedgerError as error:
            self._failed(error)
            return error
        return None

    # -------------------------------------------------------------------------------------

    def _remember(self, record: Record, *, durable: bool) -> bool:
        with self._order:
            return self._store(record, durable=durable) or self._slots_file.own.keep(record)

    def _store(self, record: Record, *, durable: bool) -> bool:
        """In the order in which they came: what waits in slots goes first."""
        if self._behind:
            self.drain()
        stored = not self._behind and self._database.write(remembering(record), durable=durable)
        self._behind = not stored
        return stored

    def _slot_of(self, ident: str) -> Slot:
        for slot in self._slots_file.read():
            if slot.record.id == ident and not slot.settled:
                return slot
        raise LedgerError(f"the ledger holds no intent {ident!a}")


def _torn_text(state_dir: str, file: SlotFiles) -> str:
    shown = show_text(state_dir)
    what = f"{file.torn} blocks of the intents in {shown} cannot be read and were made free"
    if file.aside:
        return f"{what}; they are damaged, so the file was copied to {show_text(file.aside)}"
    return f"{what}; their acts had not begun, or are looked at again"


def _adoption(run: str, inode: int, reason: str) -> Record:
    return Record(event="adopt", at=time.time(), run=run, reason=reason, details={"inode": inode})


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
