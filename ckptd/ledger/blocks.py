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
ROOM: Final = BLOCK - _HEADER.size

FREE, INTENT, FACT, OUTCOME = b"FREE", b"INTN", b"FACT", b"DONE"
_KINDS: Final = frozenset({FREE, INTENT, FACT, OUTCOME})


@dataclass(frozen=True, slots=True)
class Block:
    """What one block holds; `sequence` grows with every use of the file."""

    kind: bytes
    sequence: int
    payload: bytes = b""


def open_regular(path: str, flags: int) -> int:
    """A descriptor of the regular file *path*; OSError for a link, a FIFO or a device."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return fd


def lay_out(fd: int, count: int) -> int:
    """Writes each of *count* blocks that holds nothing whole; how many had held something.

    Nobody else may be writing: a block that is half written is taken for one that was cut off.
    """
    if os.fstat(fd).st_size < count * BLOCK:
        os.posix_fallocate(fd, 0, count * BLOCK)
    bad = [place for place in range(count) if read(fd, place) is None]
    torn = sum(any(os.pread(fd, BLOCK, place * BLOCK)) for place in bad)
    for place in bad:
        write(fd, place, Block(FREE, 0), fill=True)
    if bad:
        os.fsync(fd)
    return torn


def head(fd: int, place: int) -> tuple[bytes, int]:
    """Kind and sequence of the block at *place*, its checksum not looked at."""
    kind, _, _, sequence = _HEADER.unpack(os.pread(fd, _HEADER.size, place * BLOCK))
    return kind, sequence


def read(fd: int, place: int) -> Block | None:
    """The block at *place*; None when what lies there was never written whole."""
    raw = os.pread(fd, BLOCK, place * BLOCK)
    if len(raw) < _HEADER.size:
        return None
    kind, length, checksum, sequence = _HEADER.unpack_from(raw)
    block = Block(kind, sequence, raw[_HEADER.size : _HEADER.size + length])
    whole = kind in _KINDS and length <= ROOM and checksum == _sum(block)
    return block if whole else None


def write(fd: int, place: int, block: Block, *, fill: bool = False) -> None:
    """Overwrites the block at *place*; with *fill* to its last byte. Not yet durable."""
    raw = _HEADER.pack(block.kind, len(block.payload), _sum(block), block.sequence) + block.payload
    raw = raw.ljust(BLOCK, b"\0") if fill else raw
    if os.pwrite(fd, raw, place * BLOCK) != len(raw):
        raise OSError(errno.EIO, "the write was cut short")


def _sum(block: Block) -> int:
    return zlib.crc32(block.payload, zlib.crc32(block.kind + block.sequence.to_bytes(8, "little")))
