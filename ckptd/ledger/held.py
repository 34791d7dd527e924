"""What a slot file holds, to read; nothing is created."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.errors import LedgerError
from ckptd.ledger import blocks, locks
from ckptd.ledger.blocks import BLOCK, FACT, INTENT, OUTCOME, Block
from ckptd.ledger.record import Record, pack, unpacked
from ckptd.units import show_text

SLOTS: Final = 128


@dataclass(frozen=True, slots=True)
class Slot:
    """What one slot of the file `path` holds. `settled`: it waits for SQLite; `live`: its process
    still runs; `told`: the journal has the record already.
    """

    path: str

    index: int
    sequence: int
    record: Record
    settled: bool
    live: bool
    told: bool = False


class SlotReader:
    """Reads a slot file that others write. Creates nothing; no file means no slots."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> tuple[Slot, ...]:
        """All that the slots hold, oldest first; LedgerError when they cannot be read."""
        try:
            fd = blocks.open_regular(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise LedgerError(
                f"{show_text(self._path)} cannot be read: {error.strerror}"
            ) from error
        try:
            return read_all(fd, self._path, frozenset())
        except OSError as error:
            raise LedgerError(
                f"{show_text(self._path)} cannot be read: {error.strerror}"
            ) from error
        finally:
            os.close(fd)


def read_all(fd: int, path: str, mine: frozenset[int]) -> tuple[Slot, ...]:
    """All slots of the open file *path* that hold something, oldest first; *mine* are live."""
    count = min(os.fstat(fd).st_size // (2 * BLOCK), SLOTS)
    found = (_slot(fd, path, index, mine) for index in range(count))
    return tuple(sorted((slot for slot in found if slot), key=lambda slot: slot.sequence))


def _slot(fd: int, path: str, index: int, mine: frozenset[int]) -> Slot | None:
    first = blocks.read(fd, 2 * index)
    if first is None or first.kind not in (INTENT, FACT):
        return None
    record, settled = unsqueeze(first), first.kind == FACT
    second = blocks.read(fd, 2 * index + 1)
    if second is not None and second.kind == OUTCOME and second.sequence == first.sequence:
        outcome = unsqueeze(second)
        # A torn block loses its sequence, so a number may come again: the id decides.
        if outcome and record and outcome.id == record.id:
            record, settled = outcome, True
    if record is None:
        return None
    live = index in mine or locks.locked(fd, place(index))
    told = settled and blocks.is_stamped(fd, 2 * index, record.id)
    return Slot(path, index, first.sequence, record, settled, live, told)


def merged(slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """One slot per record: what was intended in one file may be settled in another."""
    best: dict[str, Slot] = {}
    for slot in slots:
        other = best.get(slot.record.id)
        if other is None or (slot.settled, slot.live) > (other.settled, other.live):
            best[slot.record.id] = slot
    return tuple(best.values())


def place(index: int) -> int:
    """The byte of a slot that its owner locks."""
    return 2 * index * BLOCK


def squeeze(record: Record) -> bytes:
    """*record* as a block holds it."""
    return zlib.compress(pack(record))


def unsqueeze(block: Block) -> Record | None:
    """The record in *block*; None where nobody can read it."""
    try:
        return unpacked(zlib.decompress(block.payload))
    except zlib.error:
        return None
