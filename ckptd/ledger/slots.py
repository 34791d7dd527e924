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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from ckptd.errors import LedgerError
from ckptd.ledger import blocks, locks
from ckptd.ledger.blocks import BLOCK, FACT, FREE, INTENT, OUTCOME, Block
from ckptd.ledger.held import SLOTS, Slot, place, read_all, squeeze
from ckptd.ledger.record import Record
from ckptd.units import show_text

FACTS: Final = SLOTS // 4  # facts leave the other slots to acts
PATIENCE: Final = 10.0  # seconds to wait for another ckptd that has the file to itself
_MUTEX: Final = 2 * SLOTS * BLOCK  # a byte behind the slots stands for the whole file
_TELLER: Final = _MUTEX + 1  # and one for the telling of what waits
_SPARE: Final = 1024  # bytes that an outcome may add to its intent
_CUT_OFF: Final = 8  # blocks that power failures may leave half written
_ERROR: Final = 200  # characters of an error that surely fit into them


class FullError(LedgerError):
    """Every slot holds something."""


class TooLongError(LedgerError):
    """No slot can hold the record, however well its disk is."""


class Slots:
    """A slot file, open for writing and shared with other processes.

    It lies at *path*; where others may write too, it is reached through the open *directory* and
    must be this user's alone. `torn` counts the blocks that held what was never written whole;
    they were made free again, and where that was no cut-off write, `aside` is a copy of the file.
    Raises LedgerError when the file cannot be laid out.
    """

    def __init__(self, path: str, *, directory: int | None = None, count: int = SLOTS) -> None:
        self.path = path
        self.aside: str | None = None
        self._directory = directory
        self._count = count
        self._thread = threading.Lock()
        self._mine: set[int] = set()
        with self._failing("cannot be laid out"):
            self._fd = self._open()
        try:
            with self._failing("cannot be laid out"), self._alone():
                self.torn = blocks.torn(self._fd, 2 * count)
                if self.torn > _CUT_OFF and directory is None:
                    self.aside = _copied(self._fd, f"{path}.damaged-{time.time_ns()}")
                blocks.lay_out(self._fd, 2 * count)
                self._sync_directory()
        except LedgerError:
            os.close(self._fd)
            raise

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT
        if self._directory is None:
            return blocks.open_regular(self.path, flags)
        fd = blocks.open_regular(os.path.basename(self.path), flags, self._directory)
        if not _is_ours_alone(os.fstat(fd)):
            os.close(fd)
            raise OSError(errno.EPERM, "others have a hand in it")
        return fd

    def _sync_directory(self) -> None:
        if self._directory is not None:
            os.fsync(self._directory)
            return
        fd = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Lets go of the file; intents without an outcome are unfinished from now on."""
        os.close(self._fd)

    @property
    def is_gone(self) -> bool:
        """Whether the file no longer lies at its path: what is written to it dies with us.

        Raises LedgerError.
        """
        try:
            there = self._seen()
        except OSError:
            return True
        with self._failing("cannot be read"):
            here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _seen(self) -> os.stat_result:
        if self._directory is None:
            return os.lstat(self.path)
        return os.lstat(os.path.basename(self.path), dir_fd=self._directory)

    def renew(self) -> None:
        """Takes what this process has in a file that is gone over into one at its path.

        That is its acts under way and all that waits for SQLite. LedgerError when no file can be
        laid out there: then all stays as it was.
        """
        with self._failing("cannot be laid out"), self._thread:
            held = self._held_in_the_old()
            fd = self._open()
            try:
                with self._mutex(fd):
                    blocks.lay_out(fd, 2 * self._count)
                    mine = self._taken_over(held, fd)
                    os.fsync(fd)
                self._sync_directory()
            except BaseException:
                os.close(fd)
                raise
            os.close(self._fd)
            self._fd, self._mine = fd, mine

    def _held_in_the_old(self) -> tuple[Slot, ...]:
        """Nothing where its filesystem can no longer be read: then it lies there for later."""
        with suppress(OSError):
            return read_all(self._fd, self.path, frozenset(self._mine))
        return ()

    def _taken_over(self, held: tuple[Slot, ...], fd: int) -> set[int]:
        """Writes *held* into free slots of *fd*; which of them are acts of ours, under way."""
        heads = [blocks.head(fd, 2 * index) for index in range(self._count)]
        sequence = max(sequence for _, sequence in heads)
        free = (index for index, (kind, _) in enumerate(heads) if kind == FREE)
        mine = set()
        for slot in held:
            ours = slot.index in self._mine and not slot.settled
            if not (slot.settled or ours):
                continue
            index = next((i for i in free if locks.lock(fd, place(i))), None)
            if index is None:
                raise LedgerError(f"{show_text(self.path)} has no slot left for what is under way")
            sequence += 1
            kind = INTENT if ours else FACT
            blocks.write(fd, 2 * index, Block(kind, sequence, squeeze(slot.record)))
            if slot.told:
                blocks.stamp(fd, 2 * index, slot.record.id)
            if ours:
                mine.add(index)
            else:
                locks.unlock(fd, place(index))
        return mine

    def read(self) -> tuple[Slot, ...]:
        """All that the slots hold, oldest first."""
        with self._failing("cannot be read"), self._alone():
            return read_all(self._fd, self.path, frozenset(self._mine))

    def intend(self, record: Record) -> None:
        """Writes an intent and returns when it is on the disk; LedgerError when it is not."""
        payload = squeeze(record)
        if len(payload) > blocks.ROOM - _SPARE:
            raise TooLongError(
                f"{show_text(record.checkpoint)} cannot be recorded: the record is too long"
            )
        with self._failing("cannot be written"):
            if self._put(INTENT, payload, self._count) is None:
                raise FullError(
                    f"all {self._count} slots of {show_text(self.path)} hold acts that could not be"
                    " recorded elsewhere; nothing more is let go",
                    hint="make room on its filesystem",
                )

    def keep(self, record: Record, most: int = FACTS) -> bool:
        """Writes a fact that SQLite could not take; False when *most* slots are taken already."""
        payload = squeeze(record)
        if len(payload) > blocks.ROOM:
            return False
        with self._failing("cannot be written"):
            index = self._put(FACT, payload, most)
            if index is not None:
                self._unlock(index)
            return index is not None

    def settle(self, slot: Slot, record: Record) -> None:
        """Writes what came of an intent beside it; any process may move it to SQLite then.

        What does not fit is shortened: the error, and details that the intent did not have.
        """
        payload = squeeze(record)
        if len(payload) > blocks.ROOM:
            error = record.error and record.error[:_ERROR]
            payload = squeeze(replace(record, error=error, details=slot.record.details))
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

    def probe(self) -> None:
        """Whether it can be written, durably, by rewriting what is free. LedgerError: it cannot."""
        with self._failing("cannot be written"), self._alone():
            for index in range(self._count):
                kind, sequence = blocks.head(self._fd, 2 * index)
                if kind == FREE:
                    blocks.write(self._fd, 2 * index, Block(FREE, sequence))
                    break
            os.fdatasync(self._fd)

    def mark_told(self, slot: Slot) -> None:
        """Remembers that the record of *slot* was told, unless another one lies there by now."""
        with self._failing("cannot be written"), self._alone():
            if blocks.head(self._fd, 2 * slot.index)[1] == slot.sequence:
                blocks.stamp(self._fd, 2 * slot.index, slot.record.id)

    @contextmanager
    def telling(self) -> Iterator[bool]:
        """Whether no other process tells what waits, and none will until this ends."""
        alone = locks.lock(self._fd, _TELLER)
        try:
            yield alone
        finally:
            if alone:
                locks.unlock(self._fd, _TELLER)

    def _put(self, kind: bytes, payload: bytes, most: int) -> int | None:
        with self._alone():
            heads = [blocks.head(self._fd, 2 * index) for index in range(self._count)]
            free = [index for index, (held, _) in enumerate(heads) if held == FREE]
            if self._count - len(free) >= most:
                return None
            index = next((i for i in free if locks.lock(self._fd, place(i))), None)
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
            # Where even that fails, it is an intent without an act, which recovery drops.
            with suppress(OSError):
                blocks.write(self._fd, 2 * index, Block(FREE, block.sequence))
            self._unlock(index)
            raise

    def _unlock(self, index: int) -> None:
        self._mine.discard(index)
        locks.unlock(self._fd, place(index))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The file to this thread of this process alone."""
        with self._thread, self._mutex(self._fd):
            yield

    @contextmanager
    def _mutex(self, fd: int) -> Iterator[None]:
        deadline = time.monotonic() + PATIENCE
        while not locks.lock(fd, _MUTEX):
            if time.monotonic() > deadline:
                raise LedgerError(f"another ckptd keeps {show_text(self.path)} locked")
            time.sleep(0.005)
        try:
            yield
        finally:
            locks.unlock(fd, _MUTEX)

    @contextmanager
    def _failing(self, fact: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            no_locks = error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
            why = "its filesystem has no locks" if no_locks else error.strerror
            raise LedgerError(
                f"the ledger's {show_text(self.path)} {fact}: {why}; without it nothing is let go",
                hint="name another state directory with --state",
            ) from error


def _is_ours_alone(seen: os.stat_result) -> bool:
    """Whether nobody else has written it, or can: a link to another file of ours is none, either.

    Whoever owns the directory can only take it away.
    """
    return seen.st_uid == os.geteuid() and seen.st_nlink == 1 and not seen.st_mode & 0o077


def _copied(fd: int, path: str) -> str | None:
    """The path of a copy of the open file; None where there is no room for one."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.pread(fd, os.fstat(fd).st_size, 0))
    except OSError:
        with suppress(OSError):
            os.unlink(path)
        return None
    return path
