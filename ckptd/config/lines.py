"""On which line of a TOML text a key stands. For error messages: a guess costs nothing worse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

Place = tuple[str | int, ...]
"""The steps of a dotted key."""

_BARE_OR_QUOTED: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_NAME: Final = rf"{_BARE_OR_QUOTED}(?:\s*\.\s*{_BARE_OR_QUOTED})*"
_TABLE: Final = re.compile(rf"\s*(?P<open>\[\[?)\s*(?P<name>{_NAME})\s*\]")
_KEY: Final = re.compile(rf"\s*(?P<name>{_NAME})\s*=")


def lines_of(text: str) -> Mapping[Place, int]:
    """Line numbers, from 1, by place; the items of an array of tables are numbered from 0.

    A table that only keys with dots speak of stands where the first of them does.
    """
    found: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if match := _TABLE.match(line):
            table = _words(match["name"])
            if match["open"] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            _note(found, table, number)
        elif match := _KEY.match(line):
            _note(found, (*table, *_words(match["name"])), number)
    return found


def _note(found: dict[Place, int], place: Place, number: int) -> None:
    for length in range(len(place), 0, -1):
        found.setdefault(place[:length], number)


def place_of(key: str) -> Place:
    """The place of a dotted *key* without quotes."""
    return tuple(key.split("."))


def line_of(place: Place, lines: Mapping[Place, int]) -> int | None:
    """The line of *place*, or of the nearest table around it."""
    for length in range(len(place), 0, -1):
        if place[:length] in lines:
            return lines[place[:length]]
    return None


def _words(name: str) -> tuple[str, ...]:
    return tuple(_word(word) for word in re.findall(_BARE_OR_QUOTED, name))


def _word(written: str) -> str:
    if "\\" not in written:
        return written.strip("\"'")
    import tomllib

    try:
        return str(tomllib.loads(f"word = {written}")["word"])
    except ValueError:  # not in TOML that holds; then nobody asks for it either
        return written
