"""What the ledger remembers: one record per act or fact, one save per checkpoint seen."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

ACTS: Final = frozenset({"evict", "set_aside", "slim", "archive", "purge", "restore"})
"""Events that change what lies on the disk; each has an intent before and an outcome after."""


def new_id() -> str:
    """16 random letters: short enough to type, too many to meet twice."""
    return "".join(chr(ord("a") + byte % 26) for byte in os.urandom(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One act or fact. Paths are `str` as `os.fsdecode` gives them.

    `at` is seconds since 1970, `event` a word of the audit, `outcome` one of `intended`, `done`,
    `failed`, `dropped`. `details` hold what recovery or a reader needs besides: values that
    JSON has.
    """

    event: str
    at: float
    checkpoint: str = ""
    run: str = ""
    step: int | None = None
    bytes: int = 0
    rule: str = ""
    reason: str = ""
    outcome: str = "done"
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """One save as it was seen complete: bytes on disk, seconds since 1970, seconds it took."""

    run: str
    name: str
    step: int | None
    bytes: int
    saved_at: float
    duration: float | None = None


def pack(record: Record) -> bytes:
    """*record* as bytes that `unpack` turns back into an equal one.

    UTF-8 with surrogates let through: a name may be any bytes, and escapes would treble it.
    """
    fields = asdict(record) | {"step": step_text(record.step)}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def unpack(packed: bytes) -> Record:
    """The record that `pack` made *packed* from; fields of a newer ckptd are passed over."""
    fields = json.loads(packed.decode("utf-8", "surrogatepass"))
    known = {name: fields[name] for name in Record.__slots__ if name in fields}
    return Record(**known | {"step": step_number(fields["step"])})


def unpacked(packed: bytes) -> Record | None:
    """As `unpack`; None for bytes that `pack` never made: a disk may have changed them."""
    try:
        record = unpack(packed)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return record if _is_sound(record) else None


def _is_sound(record: Record) -> bool:
    texts = (record.event, record.checkpoint, record.run, record.rule, record.reason)
    return (
        all(isinstance(text, str) for text in (*texts, record.outcome, record.id))
        and isinstance(record.at, int | float)
        and type(record.bytes) is int
        and isinstance(record.error, str | None)
        and isinstance(record.details, dict)
    )


def step_text(step: int | None) -> str | None:
    """A step as text: SQLite's integers end at 64 bits, a name's digits do not."""
    return None if step is None else str(step)


def step_number(text: str | None) -> int | None:
    """The step that `step_text` wrote."""
    return None if text is None else int(text)
