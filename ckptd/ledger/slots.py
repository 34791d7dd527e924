"""Intents in preallocated slots: durable on a disk that has no byte and no inode free.

A slot has two blocks: what is intended, and what came of it while SQLite could not take it. So a
write that a power failure cuts off harms the block it went to and not the other one. A slot in
flight is locked by its owner; when the owner dies, the lock goes, and the intent is unfinished.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from ckptd.errors import LedgerError
from ckptd.ledger import blocks, locks
from ckptd.ledger.blocks import BLOCK, FACT, FREE, INTENT, OUTCOME, Block
from ckptd.ledger.record import Record, pack, unpack
from ckptd.units import show_text

SLOTS: Final = 128
FACTS: Final = SLOTS // 4  # facts leave the other slots to acts
PATIENCE: Final = 10.0  # seconds to wait for another ckptd that has the file to itself
_MUTEX: Final = 2 * SLOTS * BLOCK  # a byte behind the slots stands for the whole file
_SPARE: Final = 1024  # bytes that an outcome may add to its intent
_ERROR: Final = 200  # characters of an error that surely fit into them


@dataclass(frozen=True, slots=True)
class Slot:
    """What one slot holds. `settled`: it waits for SQLite; `live`: its process still runs."""

    index: int
    sequence: int
    record: Record
    settled: bool
    live: bool


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
            return _read_all(fd, frozenset())
        except OSError as error:
            raise LedgerError(
                f"{show_text(self._path)} cannot be read: {error.strerror}"
            ) from error
        finally:
            os.close(fd)


class Slots:
    """The slot file, open for writing and shared with other processes.

    `torn` counts the blocks that held a write that was cut off; they were made free again.
    Raises LedgerError when the file cannot be laid out.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = threading.Lock()
        self._mine: set[int] = set()
        with self._failing("cannot be laid out"):
            self._fd = blocks.open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            with self._failing("cannot be laid out"), self._alone():
                self.torn = blocks.lay_out(self._fd, 2 * SLOTS)
                _sync_directory(os.path.dirname(path))
        except LedgerError:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Lets go of the file; intents without an outcome are unfinished from now on."""
        os.close(self._fd)

    def read(self) -> tuple[Slot, ...]:
        """All that the slots hold, oldest first."""
        with self._failing("cannot be read"), self._alone():
            return _read_all(self._fd, frozenset(self._mine))

    def intend(self, record: Record) -> None:
        """Writes an intent and returns when it is on the disk; LedgerError when it is not."""
        payload = _squeeze(record)
        if len(payload) > blocks.ROOM - _SPARE:
            raise LedgerError(
                f"{show_text(record.checkpoint)} cannot be recorded: the record is too long"
            )
        with self._failing("cannot be written"):
            if self._put(INTENT, payload, SLOTS) is None:
                raise LedgerError(
                    f"all {SLOTS} slots of {show_text(self._path)} hold acts that could not be"
                    " recorded elsewhere; nothing more is let go",
                    hint="make room on its filesystem",
                )

    def keep(self, record: Record) -> bool:
        """Writes a fact that SQLite could not take; False when facts have no slot left."""
        payload = _squeeze(record)
        if len(payload) > blocks.ROOM:
            return False
        with self._failing("cannot be written"):
            index = self._put(FACT, payload, FACTS)
            if index is not None:
                self._unlock(index)
            return index is not None

    def settle(self, slot: Slot, record: Record) -> None:
        """Writes what came of an intent beside it; any process may move it to SQLite then.

        What does not fit is shortened: the error, and details that the intent did not have.
        """
        payload = _squeeze(record)
        if len(payload) > blocks.ROOM:
            error = record.error and record.error[:_ERROR]
            payload = _squeeze(replace(record, error=error, details=slot.record.details))
        with self._failing("cannot be written"), self._alone():
            blocks.write(self._fd, 2 * slot.index + 1, Block(OUTCOME, slot.sequence, payload))
            os.fdatasync(self._fd)
            self._unlock(slot.index)

    def free(self, slot: Slot) -> None:
        """Makes *slot* free, unless another process has taken it since it was read."""
        with self._failing("cannot be written"), self._alone():
            if blocks.head(self._fd, 2 * slot.index)[1] == slot.sequence:
                blocks.write(self._fd, 2 * slot.index, Block(FREE, slot.sequence))
                self._unlock(slot.index)

    def _put(self, kind: bytes, payload: bytes, most: int) -> int | None:
        with self._alone():
            heads = [blocks.head(self._fd, 2 * index) for index in range(SLOTS)]
            free = [index for index, (held, _) in enumerate(heads) if held == FREE]
            if SLOTS - len(free) >= most:
                return None
            index = next((i for i in free if locks.lock(self._fd, _place(i))), None)
            if index is None:
                return None
            self._mine.add(index)
            sequence = 1 + max(sequence for _, sequence in heads)
            self._write_durably(index, Block(kind, sequence, payload))
            return index

    def _write_durably(self, index: int, block: Block) -> None:
        try:
            blocks.write(self._fd, 2 * index, block)
            os.fdatasync(self._fd)
        except OSError:
            blocks.write(self._fd, 2 * index, Block(FREE, block.sequence))
            self._unlock(index)
            raise

    def _unlock(self, index: int) -> None:
        self._mine.discard(index)
        locks.unlock(self._fd, _place(index))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The file to this thread of this process alone."""
        deadline = time.monotonic() + PATIENCE
        with self._thread:
            while not locks.lock(self._fd, _MUTEX):
                if time.monotonic() > deadline:
                    raise LedgerError(f"another ckptd keeps {show_text(self._path)} locked")
                time.sleep(0.005)
            try:
                yield
            finally:
                locks.unlock(self._fd, _MUTEX)

    @contextmanager
    def _failing(self, fact: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            no_locks = error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
            why = "its filesystem has no locks" if no_locks else error.strerror
            raise LedgerError(
                f"the ledger's {show_text(self._path)} {fact}: {why}; without it nothing is let go",
                hint="name another state directory with --state",
            ) from error


def _read_all(fd: int, mine: frozenset[int]) -> tuple[Slot, ...]:
    found = (_slot(fd, index, mine) for index in range(SLOTS))
    return tuple(sorted((slot for slot in found if slot), key=lambda slot: slot.sequence))


def _slot(fd: int, index: int, mine: frozenset[int]) -> Slot | None:
    first = blocks.read(fd, 2 * index)
    if first is None or first.kind not in (INTENT, FACT):
        return None
    record, settled = _unsqueeze(first), first.kind == FACT
    second = blocks.read(fd, 2 * index + 1)
    if second is not None and second.kind == OUTCOME and second.sequence == first.sequence:
        outcome = _unsqueeze(second)
        # A torn block loses its sequence, so a number may come again: the id decides.
        if outcome.id == record.id:
            record, settled = outcome, True
    live = index in mine or locks.locked(fd, _place(index))
    return Slot(index, first.sequence, record, settled, live)


def _place(index: int) -> int:
    return 2 * index * BLOCK


def _squeeze(record: Record) -> bytes:
    return zlib.compress(pack(record))


def _unsqueeze(block: Block) -> Record:
    return unpack(zlib.decompress(block.payload))


def _sync_directory(path: str) -> None:
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
