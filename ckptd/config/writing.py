"""Values and keys as TOML writes them, for whatever may come out of a TOML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ckptd.config.lines import Place

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: object) -> str:
    """*value* (a text, number, truth, list or table) on one line, printable characters alone."""
    if isinstance(value, Mapping):
        pairs = (f"{toml_key((key,))} = {toml_value(inner)}" for key, inner in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)


def toml_key(place: Place) -> str:
    """The dotted key of *place*, each step quoted where it must be."""
    steps = (step for step in place if isinstance(step, str))
    return ".".join(step if _BARE.fullmatch(step) else _quoted(step) for step in steps)


def _quoted(text: str) -> str:
    return f'"{"".join(map(_character, text))}"'


def _character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
