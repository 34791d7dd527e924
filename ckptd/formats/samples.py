"""A few numbers of a save's weights, so that weights that are lost show. Bounded.

One step with gradients that are not finite makes all the weights so that it updates (clipping
multiplies them all by the one norm): some numbers of some tensors tell. Frozen ones stay finite,
and some models hold -inf on purpose (masks), so a sample says nothing alone: siblings testify.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ckptd.formats.base import Peek
from ckptd.formats.reading import UnsureError, read
from ckptd.model import Entry

# What is read of a save at most: 2 files, 8 tensors of each, 1 KiB of each tensor.
TENSORS: Final = 8
BYTES: Final = 1024

_LONGEST_NAME: Final = 200
_NUMBERS: Final = {"F64": ("d", 8), "F32": ("f", 4), "F16": ("e", 2), "BF16": ("f", 2)}


def files(weights: Sequence[str]) -> frozenset[str]:
    """The first and the last safetensors file among *weights*: both ends of a sharded model."""
    found = sorted(path for path in weights if path.endswith(".safetensors"))
    return frozenset([*found[:1], *found[-1:]])


def sample(
    entry: Entry, peek: Peek, header: Mapping[str, Any], begin: int
) -> dict[str, str | None]:
    """Tensors of a whole safetensors file and what the first number not finite in each is.

    None for a tensor whose sample is finite. Raises nothing: what cannot be read is not sampled.
    """
    found: dict[str, str | None] = {}
    for name, dtype, offset, length in _spread(_tensors(header)):
        try:
            raw = read(entry, peek, begin + offset, min(length, BYTES))
        except (OSError, UnsureError):
            continue
        found[name] = _not_finite(raw, dtype)
    return found


_Tensor = tuple[str, str, int, int]


def _tensors(header: Mapping[str, Any]) -> list[_Tensor]:
    """Name, kind of number, offset and length of the tensors that can be read."""
    return [
        (name, dtype, offsets[0], offsets[1] - offsets[0])
        for name, tensor in header.items()
        if name != "__metadata__"
        and len(name) <= _LONGEST_NAME
        and isinstance(dtype := tensor.get("dtype"), str)
        and dtype in _NUMBERS
        and (offsets := tensor["data_offsets"])[1] > offsets[0]
    ]


def _spread(tensors: Sequence[_Tensor]) -> Sequence[_Tensor]:
    """As many as are sampled, evenly from the first to the last: the same ones in each save."""
    last = len(tensors) - 1
    if last < TENSORS:
        return tensors
    return [tensors[nth * last // (TENSORS - 1)] for nth in range(TENSORS)]


def _not_finite(raw: bytes, dtype: str) -> str | None:
    code, width = _NUMBERS[dtype]
    count = len(raw) // width
    whole = raw[: count * width]
    if dtype == "BF16":  # the upper half of a single
        single = bytearray(4 * count)
        single[2::4], single[3::4] = whole[::2], whole[1::2]
        whole = bytes(single)
    numbers = struct.unpack(f"<{count}{code}", whole)
    if all(map(math.isfinite, numbers)):
        return None
    return next((str(number) for number in numbers if not math.isfinite(number)), None)
