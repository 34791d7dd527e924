"""What a Trainer's `trainer_state.json` and `training_args.bin` tell. Nothing is unpickled."""

from __future__ import annotations

import pickletools
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ckptd.formats import divergence, reading
from ckptd.formats.base import Peek
from ckptd.formats.reading import DamagedError, read, read_json
from ckptd.model import Divergence, Entry, RecordedBest

# A name with more digits is a checkpoint of unknown step: no training counts so far.
LONGEST_STEP: Final = 15

_NAME: Final = re.compile(r"checkpoint-(?P<step>[0-9]+)")
_LARGEST_ARGS: Final = 256 * 2**10
# The head of a zip member (APPNOTE.TXT 4.3.7): signature, ..., method, ..., lengths of two texts.
_MEMBER: Final = struct.Struct("<4sHHHHHLLLHH")
_MEMO: Final = frozenset({"MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"})
_NUMBERS: Final = frozenset({"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1"})


@dataclass(frozen=True, slots=True)
class State:
    """A `trainer_state.json` that parsed: its step, the metrics at it, the best, its log's end."""

    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: RecordedBest | None = None
    divergence: Divergence | None = None


def is_name(name: str) -> bool:
    """Whether *name* is exactly `checkpoint-<digits>` (trainer_utils.py, `_re_checkpoint`)."""
    return _NAME.fullmatch(name) is not None


def step_of(name: str) -> int | None:
    """The step in the name of a checkpoint; None when it is none, or longer than 15 digits."""
    match = _NAME.fullmatch(name)
    if match is None or len(match["step"]) > LONGEST_STEP:
        return None
    return int(match["step"])


def read_state(entry: Entry, peek: Peek) -> State:
    """The state in a `trainer_state.json`. Raises DamagedError, UnsureError and OSError."""
    state = read_json(entry, peek)
    if not isinstance(state, dict):
        raise DamagedError("holds no object")
    step = state.get("global_step")
    if type(step) is not int:
        raise DamagedError("names no global_step")
    history = state.get("log_history")
    return State(step, _metrics(history, step), _best(state), divergence.at_the_end(history, step))


def _metrics(history: object, step: int) -> dict[str, float]:
    """What was logged at *step*; a later line wins. Non-finite numbers are numbers here."""
    lines = history if isinstance(history, list) else []
    return {
        key: number
        for line in lines
        if isinstance(line, dict) and line.get("step") == step
        for key, value in line.items()
        if key not in {"step", "epoch"} and (number := reading.number(value)) is not None
    }


def _best(state: dict[str, Any]) -> RecordedBest | None:
    path = state.get("best_model_checkpoint")
    name = path.rstrip("/").rpartition("/")[2] if isinstance(path, str) else ""
    if not is_name(name):
        return None
    step = state.get("best_global_step")
    known = step if type(step) is int else step_of(name)
    return RecordedBest(name, known, reading.number(state.get("best_metric")))


# --- training_args.bin -------------------------------------------------------------------


def read_limit(entry: Entry, peek: Peek) -> int | None:
    """`save_total_limit` in a `training_args.bin`; None where there is none or it is not found.

    The file is a torch archive whose first member is a pickle, stored as it is. Its opcodes are
    listed, which runs none of them. Raises UnsureError and OSError.
    """
    raw = read(entry, peek, 0, min(entry.size, _LARGEST_ARGS))
    try:
        return _value_after("save_total_limit", _opcodes(raw))
    except ValueError:  # what pickletools raises where the bytes are no pickle
        return None


def _opcodes(raw: bytes) -> Iterator[tuple[str, object]]:
    """Names and arguments of the opcodes in the `data.pkl` at the head of a torch archive."""
    if len(raw) < _MEMBER.size:
        return
    fields = _MEMBER.unpack_from(raw)
    signature, method, name_length, extra_length = fields[0], fields[3], fields[9], fields[10]
    name_end = _MEMBER.size + name_length
    if signature != b"PK\x03\x04" or method != 0:
        return
    if raw[_MEMBER.size : name_end].endswith(b"/data.pkl"):
        for opcode, argument, _ in pickletools.genops(raw[name_end + extra_length :]):
            yield opcode.name, argument


def _value_after(key: str, opcodes: Iterator[tuple[str, object]]) -> int | None:
    """The number that follows the text *key*: in a pickled dictionary, its value."""
    if not any(argument == key for _, argument in opcodes):
        return None
    name, value = next((op for op in opcodes if op[0] not in _MEMO), ("", None))
    if name in _NUMBERS and isinstance(value, int) and value > 0:
        return value
    return None
