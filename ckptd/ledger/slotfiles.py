"""All slots of one ledger: its own, and refuges for while its own disk fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ckptd.errors import LedgerError
from ckptd.ledger.held import Slot, SlotReader, merged
from ckptd.ledger.record import Record
from ckptd.ledger.refuge import Refuge
from ckptd.ledger.slots import Slots

_FAILING: Final = frozenset({errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOTCONN})


class SlotFiles:
    """The slot file at *path*, and the refuges that were offered.

    `failure` is what was wrong with the own file first, until it is well again. Raises
    LedgerError when there is none and none can be made; one that lies on a failing disk is tried
    again whenever it is needed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._own: Slots | None = None
        self._refuges: dict[str, Refuge] = {}
        self._by_watch: dict[str, str] = {}
        self.failure: LedgerError | None = None
        try:
            self._own = Slots(path)
        except LedgerError as error:
            if not _fails(error) or not os.path.lexists(path):
                raise
            self.failure = self.failure or error

    @property
    def own(self) -> Slots:
        """The ledger's own slots. LedgerError while its disk does not even let them be opened."""
        if self._own is None:
            self._own = Slots(self._path)
        return self._own

    def close(self) -> None:
        """Lets go of all files; intents without an outcome are unfinished from now on."""
        for file in (self._own, *self._refuges.values()):
            if file is not None:
                file.close()

    # --- refuges -------------------------------------------------------------------------

    def has_refuge(self, watch: str) -> bool:
        """Whether one was taken for *watch* that still stands."""
        refuge = self._refuges.get(self._by_watch.get(watch, ""))
        return refuge is not None and refuge.stands

    def take_refuge(self, watch: str, place: str, trash_fd: int) -> None:
        """From now on acts below *place* can be recorded in its open trash. LedgerError."""
        old = self._refuges.get(place)
        if old is None or not old.stands:
            self._refuges[place] = Refuge(place, trash_fd)
            if old is not None:
                old.close()
        self._by_watch[watch] = place

    @property
    def places(self) -> tuple[str, ...]:
        """The places whose trash is a refuge."""
        return tuple(self._refuges)

    def _for(self, record: Record) -> list[Refuge]:
        """The refuges that concern *record*, the nearest first."""
        fitting = (refuge for refuge in self._refuges.values() if refuge.concerns(record))
        return sorted(fitting, key=lambda refuge: -len(refuge.place))

    def intend_in_refuge(self, record: Record, failure: LedgerError) -> None:
        """Writes an intent that the own file did not take, for the reason of *failure*.

        LedgerError: no refuge takes it, either.
        """
        error = failure
        for refuge in self._for(record):
            try:
                refuge.intend(record)
            except LedgerError as also:
                error = LedgerError(f"{fact_of(failure)}, and {also}", hint=failure.hint)
            else:
                return
        raise error

    @property
    def torn(self) -> int:
        """How many blocks of the own file were made free, as nobody could read them."""
        return 0 if self._own is None else self._own.torn

    @property
    def aside(self) -> str | None:
        """Where what lay in the own file was copied to, when it was damaged."""
        return None if self._own is None else self._own.aside

    # --- what lies in them ---------------------------------------------------------------

    def read(self) -> tuple[Slot, ...]:
        """One slot per record, the oldest of each file first. What cannot be read is left out."""
        slots = [slot for _, slot in self._all()]
        if self._own is None:
            with suppress(LedgerError):
                slots += SlotReader(self._path).read()
        return merged(slots)

    def settle(self, record: Record, *, own: bool) -> None:
        """Writes what came of an intent beside it, or into a refuge where that cannot be.

        Without *own*, the own file does not count: it is lost, or as good as that. LedgerError.
        """
        held = [(file, slot) for file, slot in self._all() if slot.record.id == record.id]
        written, error = False, LedgerError(f"the ledger holds no intent {record.id!a}")
        for file, slot in held:
            try:
                if not slot.settled:
                    file.settle(slot, record)
                written = written or own or file is not self._own
            except LedgerError as failure:
                error = failure
                self._failed(file, failure)
        if not written and (held or not own):
            written = self._kept(record)
        if not written:
            raise error

    def _kept(self, record: Record) -> bool:
        for refuge in self._for(record):
            try:
                refuge.keep(record)
            except LedgerError:
                continue
            return True
        return False

    def free(self, ident: str) -> None:
        """Frees every slot that holds the record *ident*. LedgerError."""
        for file, slot in self._all():
            if slot.record.id == ident:
                file.free(slot)

    def mark_told(self, ident: str) -> None:
        """Remembers that the record *ident* was told. LedgerError."""
        for file, slot in self._all():
            if slot.record.id == ident and slot.settled:
                file.mark_told(slot)

    def tidy(self) -> None:
        """Gives back what refuges took beyond their first file. LedgerError."""
        for refuge in self._refuges.values():
            refuge.tidy()

    @contextmanager
    def telling(self) -> Iterator[bool]:
        """Whether no other process tells what waits, and none will until this ends."""
        if self._own is None:
            yield True  # nobody else can mark anything as told there
            return
        with self._own.telling() as alone:
            yield alone

    def _all(self) -> Iterator[tuple[Slots, Slot]]:
        """What can be read and written, each with its file."""
        own: list[tuple[Slots, Slot]] = []
        try:
            if self._own is not None:
                own = [(self._own, slot) for slot in self._own.read()]
        except LedgerError as error:
            self._failed(self._own, error)
        yield from own
        for refuge in self._refuges.values():
            try:
                yield from refuge.read()
            except LedgerError:
                continue  # its filesystem is the one that is acted upon: no act works there, either

    def _failed(self, file: Slots | None, error: LedgerError) -> None:
        if file is self._own:
            self.failure = self.failure or error


def fact_of(error: LedgerError) -> str:
    """What is wrong, without what follows from it."""
    return error.message.rpartition("; ")[0] or error.message


def _fails(error: LedgerError) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _FAILING
