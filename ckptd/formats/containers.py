"""Whether a container file is whole, from its own structure. Nothing is unpickled.

A check returns None for a whole file, raises DamagedError for positive damage and UnsureError
where neither can be shown. What none of them sees: zeros or foreign bytes in the middle.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from ckptd.formats.base import Peek
from ckptd.formats.reading import (
    DamagedError,
    UnsureError,
    parse_json,
    read,
    read_json,
)
from ckptd.model import Entry
from ckptd.units import show_bytes, show_text

# safetensors refuses a longer header (safetensors/src/tensor.rs, MAX_HEADER_SIZE).
LONGEST_HEADER: Final = 100_000_000
# Some 200 000 tensors; parsing more would cost more memory than a guard may take.
LONGEST_PARSED_HEADER: Final = 32 * 2**20

Check = Callable[[Entry, Peek], None]

_ZIP_HEAD: Final = b"PK\x03\x04"
_PICKLE_HEAD: Final = b"\x80"
# End of central directory, its zip64 twin and the locator of that (APPNOTE.TXT 4.3.14 to 16).
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_LONGEST_COMMENT: Final = 0xFFFF
_SHARD: Final = re.compile(r"(?P<stem>.+)-(?P<nth>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<end>\.\w+)")


def check_for(path: str) -> Check | None:
    """The check that the name of a container asks for; None for a name that is no container."""
    name = path.rpartition("/")[2]
    if name.endswith(".safetensors"):
        return safetensors
    return torch_zip if name.endswith((".pt", ".pth", ".bin")) else None


# --- safetensors -------------------------------------------------------------------------


def safetensors(entry: Entry, peek: Peek) -> None:
    """A header length, that many bytes of JSON, and tensors up to the last byte of the file."""
    header(entry, peek)


def header(entry: Entry, peek: Peek) -> tuple[dict[str, Any], int]:
    """The header of a whole safetensors file, and the offset from which its tensors count.

    Raises as the check does where the file is not whole.
    """
    size = entry.size
    if size < 8:
        raise DamagedError(f"is cut off: {size} bytes, too short for a safetensors header")
    length = int.from_bytes(read(entry, peek, 0, 8), "little")
    if length > LONGEST_HEADER:
        raise DamagedError(f"has no safetensors header: it would be {length} bytes long")
    if 8 + length > size:
        raise DamagedError(f"is cut off: its header ends at byte {8 + length}, the file at {size}")
    if length > LONGEST_PARSED_HEADER:
        raise UnsureError(f"has a header of {show_bytes(length)}, too long to be checked")
    found = _header(read(entry, peek, 8, length))
    end = 8 + length + _data_end(found)
    if end != size:
        cut = "is cut off" if end > size else "is longer than its tensors"
        raise DamagedError(f"{cut}: its tensors end at byte {end}, the file at {size}")
    return found, 8 + length


def _header(raw: bytes) -> dict[str, Any]:
    try:
        header = parse_json(raw)
    except DamagedError as error:
        raise DamagedError(f"has a damaged safetensors header, which {error}") from error
    if not isinstance(header, dict):
        raise DamagedError("has a safetensors header that is no object")
    return header


def _data_end(header: dict[str, Any]) -> int:
    """Where the last tensor ends, counted from the end of the header."""
    tensors = (tensor for name, tensor in header.items() if name != "__metadata__")
    return max((_offsets(tensor)[1] for tensor in tensors), default=0)


def _offsets(tensor: object) -> tuple[int, int]:
    match tensor:
        case {"data_offsets": [int(begin), int(end)]} if 0 <= begin <= end:
            return begin, end
    raise DamagedError("has a safetensors header whose data_offsets make no sense")


# --- torch archives ----------------------------------------------------------------------


def torch_zip(entry: Entry, peek: Peek) -> None:
    """A zip archive with its end record at the tail and the directory that it promises."""
    size = entry.size
    if size == 0:
        raise DamagedError("is empty")
    _check_head(read(entry, peek, 0, min(4, size)))
    end_at, record = _end_record(entry, peek)
    entries, length, offset = record[4], record[5], record[6]
    end64_at = _end64_at(entry, peek, end_at)
    if end64_at is not None:
        entries, length, offset = _end64(entry, peek, end64_at, end_at)
        end_at = end64_at
    if offset + length > end_at:
        raise DamagedError(f"is damaged: its central directory would end at {offset + length}")
    if entries and read(entry, peek, offset, min(4, length)) != b"PK\x01\x02":
        raise DamagedError(f"is damaged: no central directory at byte {offset}")


def _check_head(head: bytes) -> None:
    if head == _ZIP_HEAD[: len(head)]:
        return
    if head.startswith(_PICKLE_HEAD):
        raise UnsureError("is not a zip: it cannot be proven whole")
    if not head.strip(b"\0"):
        raise DamagedError("is damaged: it begins with zero bytes")
    raise UnsureError("is neither a zip nor a pickle: it cannot be proven whole")


def _end_record(entry: Entry, peek: Peek) -> tuple[int, tuple[Any, ...]]:
    """Where the end record lies, and its fields. torch writes no comment after it."""
    length = min(entry.size, _END.size + _LONGEST_COMMENT)
    tail = read(entry, peek, entry.size - length, length)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if at + _END.size <= length:
            record = _END.unpack_from(tail, at)
            if at + _END.size + record[7] == length:
                return entry.size - length + at, record
        at = tail.rfind(b"PK\x05\x06", 0, at)
    raise DamagedError(f"is cut off: no end-of-central-directory record in its {entry.size} bytes")


def _end64_at(entry: Entry, peek: Peek, end_at: int) -> int | None:
    """Where the locator before the end record says that its zip64 twin lies."""
    if end_at < _LOCATOR.size:
        return None
    raw = read(entry, peek, end_at - _LOCATOR.size, _LOCATOR.size)
    signature, _, offset, _ = _LOCATOR.unpack(raw)
    return int(offset) if signature == b"PK\x06\x07" else None


def _end64(entry: Entry, peek: Peek, at: int, end_at: int) -> tuple[int, int, int]:
    """Entries, length and offset of the central directory, from the zip64 end record."""
    if at + _END64.size + _LOCATOR.size > end_at:
        raise DamagedError(f"is damaged: its zip64 end record would lie at byte {at}")
    record = _END64.unpack(read(entry, peek, at, _END64.size))
    if record[0] != b"PK\x06\x06":
        raise DamagedError(f"is damaged: no zip64 end record at byte {at}")
    return record[7], record[8], record[9]


# --- sharded weights ---------------------------------------------------------------------


def index(entry: Entry, peek: Peek, present: Collection[str]) -> None:
    """A `*.index.json` whose shards are all among *present*, the names beside it."""
    shards = _shards(read_json(entry, peek))
    if any("/" in shard or shard in {"", ".", ".."} for shard in shards):
        raise UnsureError("names shards that are no plain names")
    missing = sorted(shards - set(present))
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DamagedError(f"names {show_text(missing[0])}{others}, which is missing")


def _shards(value: object) -> set[str]:
    match value:
        case {"weight_map": dict(shards)} if shards:
            if all(isinstance(shard, str) for shard in shards.values()):
                return set(shards.values())
    raise DamagedError("names no shards")


def is_shard(name: str) -> bool:
    """Whether *name* is one of a set, such as `model-00001-of-00003.safetensors`."""
    return _SHARD.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Gap:
    """A set of shards that is not whole: one that is there, the first missing, how many miss."""

    present: str
    first: str
    count: int


def gaps(names: Collection[str]) -> tuple[Gap, ...]:
    """The sets `NAME-00001-of-00003` among *names* that lack members."""
    sets: dict[tuple[str, int, str], set[int]] = {}
    for name in names:
        if shard := _SHARD.fullmatch(name):
            key = (shard["stem"], int(shard["count"]), shard["end"])
            sets.setdefault(key, set()).add(int(shard["nth"]))
    return tuple(gap for key, seen in sorted(sets.items()) if (gap := _gap(key, seen)))


def _gap(key: tuple[str, int, str], seen: set[int]) -> Gap | None:
    stem, count, end = key
    missing = count - sum(1 <= nth <= count for nth in seen)
    if missing <= 0:
        return None
    first = next(nth for nth in range(1, count + 1) if nth not in seen)
    return Gap(
        f"{stem}-{min(seen):05}-of-{count:05}{end}",
        f"{stem}-{first:05}-of-{count:05}{end}",
        missing,
    )
