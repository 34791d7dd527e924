"""What an event holds, made harmless: names come from others, and a log is read by terminals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ckptd.units import show_text

Fields = Mapping[str, Any]


def plain(value: Any) -> Any:
    """*value* as JSON has it: texts without control characters, no number that is not finite.

    Bytes that are no UTF-8 are written out as escapes.
    """
    if isinstance(value, str):
        return show_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {show_text(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return show_text(str(value))
