"""The blocks of a slot file: fixed places, overwritten where they lie, each with its checksum.

The file is laid out once, every block written, so that overwriting it later allocates nothing
(a block only reserved by fallocate would still be converted on its first write).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import Final

BLOCK: Final = 8192  # holds the longest path that Linux has, even of bytes that are no UTF-8
_HEADER: Final = struct.Struct("<4sIIQ")  # kind, length, checksum, sequence
_STAMP: Final = 16  # the last bytes of a block: within one sector, so never torn
ROOM: Final = BLOCK - _HEADER.size - _STAMP

FREE, INTENT, FACT, OUTCOME = b"FREE", b"INTN", b"FACT", b"DONE"
_KINDS: Final = frozenset({FREE, INTENT, FACT, OUTCOME})


@dataclass(frozen=True, slots=True)
class Block:
    """What one block holds; `sequence` grows with every use of the file."""

    kind: bytes
    sequence: int
    payload: bytes = b""


def open_regular(path: str, flags: int, directory: int | None = None) -> int:
    """A descriptor of the regular file *path*; OSError for a link, a FIFO or a device.

    *path* is a name in the open *directory* where one is given.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return fd


def torn(fd: int, count: int) -> int:
    """How many of *count* blocks hold something that was never written whole."""
    bad = [place for place in range(count) if read(fd, place) is None]
    lost = len(bad) if 0 < os.fstat(fd).st_size < count * BLOCK else 0  # it was cut
    return lost or sum(any(os.pread(fd, BLOCK, place * BLOCK)) for place in bad)


def lay_out(fd: int, count: int) -> None:
    """Writes each of *count* blocks that holds nothing whole.

    Nobody else may be writing: a block that is half written is taken for one that was cut off.
    """
    if os.fstat(fd).st_size < count * BLOCK:
        os.posix_fallocate(fd, 0, count * BLOCK)
    bad = [place for place in range(count) if read(fd, place) is None]
    if len(bad) == count:
        _write_at(fd, count * _raw(Block(FREE, 0)).ljust(BLOCK, b"\0"), 0)
    else:
        for place in bad:
            write(fd, place, Block(FREE, 0), fill=True)
    if bad:
        os.fsync(fd)


def head(fd: int, place: int) -> tuple[bytes, int]:
    """Kind and sequence of the block at *place*, its checksum not looked at.

    What was never a block is free: something overwrote the file.
    """
    raw = os.pread(fd, _HEADER.size, place * BLOCK).ljust(_HEADER.size, b"\0")
    kind, _, _, sequence = _HEADER.unpack(raw)
    return (kind, sequence) if kind in _KINDS else (FREE, 0)


def read(fd: int, place: int) -> Block | None:
    """The block at *place*; None when what lies there was never written whole."""
    raw = os.pread(fd, BLOCK, place * BLOCK)
    if len(raw) < _HEADER.size:
        return None
    kind, length, checksum, sequence = _HEADER.unpack_from(raw)
    block = Block(kind, sequence, raw[_HEADER.size : _HEADER.size + length])
    whole = kind in _KINDS and len(block.payload) == length and checksum == _sum(block)
    return block if whole else None


def write(fd: int, place: int, block: Block, *, fill: bool = False) -> None:
    """Overwrites the block at *place*; with *fill* to its last byte. Not yet durable."""
    raw = _raw(block)
    _write_at(fd, raw.ljust(BLOCK, b"\0") if fill else raw, place * BLOCK)


def stamp(fd: int, place: int, mark: str) -> None:
    """Marks the block at *place* without touching what it holds. Not yet durable."""
    os.pwrite(fd, _stamp(mark), (place + 1) * BLOCK - _STAMP)


def is_stamped(fd: int, place: int, mark: str) -> bool:
    """Whether `stamp` has put *mark* on the block at *place*; another one is an earlier use's."""
    return os.pread(fd, _STAMP, (place + 1) * BLOCK - _STAMP) == _stamp(mark)


def _raw(block: Block) -> bytes:
    header = _HEADER.pack(block.kind, len(block.payload), _sum(block), block.sequence)
    return header + block.payload


def _write_at(fd: int, raw: bytes, offset: int) -> None:
    if os.pwrite(fd, raw, offset) != len(raw):
        raise OSError(errno.EIO, "the write was cut short")


def _stamp(mark: str) -> bytes:
    return mark.encode()[:_STAMP].ljust(_STAMP, b"\0")


def _sum(block: Block) -> int:
    return zlib.crc32(block.payload, zlib.crc32(block.kind + block.sequence.to_bytes(8, "little")))
