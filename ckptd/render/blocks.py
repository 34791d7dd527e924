"""What a terminal is shown: blocks of lines and rows, laid out as plain text.

Everything in a block is data: no layout takes a name in it for a control sequence or for markup.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final, Literal

from ckptd.units import show_text

Tone = Literal["", "good", "goes", "warn", "bad", "faint"]
NARROWEST_LAST: Final = 24
GAP: Final = "  "
WIDEST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Column:
    """How one column lies: its title, which side, and how wide it is at least and at most.

    A longer cell pushes its own line to the right, not every line.
    """

    title: str = ""
    right: bool = False
    least: int = 0
    most: int = WIDEST


@dataclass(frozen=True, slots=True)
class Row:
    """One cell per column; `tone` says what it means, for terminals that can show it."""

    cells: tuple[str, ...]
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, lines, rows, and lines below them. The last cell of a row may be long."""

    heading: str = ""
    above: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    below: tuple[str, ...] = ()
    tone: Tone = ""

    def __bool__(self) -> bool:
        return bool(self.heading or self.above or self.rows or self.below)


def lay_out(blocks: Sequence[Block], *, width: int) -> str:
    """The blocks in lines of about *width* characters, an empty line between two."""
    return "\n\n".join("\n".join(_lines(block, width)) for block in blocks if block)


def used_columns(block: Block) -> list[int]:
    """The columns in which some row has something to say."""
    return [n for n in range(len(block.columns)) if any(row.cells[n] for row in block.rows)]


def widths_of(block: Block, *, bounded: bool = True) -> list[int]:
    """How wide each used column is on a terminal; unless *bounded* as wide as its widest cell."""
    columns = [block.columns[n] for n in used_columns(block)]
    return [
        min(max(column.least, *map(_width, cells)), column.most if bounded else WIDEST)
        for column, cells in zip(columns, zip(*_shown(block), strict=True), strict=True)
    ]


def _lines(block: Block, width: int) -> Iterator[str]:
    if block.heading:
        yield show_text(block.heading)
    yield from map(show_text, block.above)
    yield from _table(block, width)
    yield from map(show_text, block.below)


def _table(block: Block, width: int) -> Iterator[str]:
    used, widths = used_columns(block), widths_of(block)
    columns = [block.columns[n] for n in used]
    for row in _shown(block):
        cells = map(_padded, row[:-1], widths, columns)
        yield from _beside("".join(f"{cell}{GAP}" for cell in cells), row[-1], width)


def _shown(block: Block) -> list[list[str]]:
    """The cells of the used columns, under their titles where there are any."""
    used = used_columns(block)
    titles = [block.columns[n].title for n in used]
    rows = [[show_text(row.cells[n]) for n in used] for row in block.rows]
    return [titles, *rows] if rows and any(titles) else rows


def _padded(cell: str, width: int, column: Column) -> str:
    room = " " * (width - _width(cell))
    return f"{room}{cell}" if column.right else f"{cell}{room}"


def _beside(left: str, text: str, width: int) -> list[str]:
    """*text* wrapped at the right of *left*, or below it where there is no room."""
    indent, room = _width(left), width - _width(left)
    if room < min(NARROWEST_LAST, _width(text)):
        lines = wrap(text, max(width - 6, NARROWEST_LAST))
        return [left.rstrip(), *(" " * 6 + line for line in lines)]
    first, *rest = wrap(text, room) or [""]
    return [f"{left}{first}".rstrip(), *(" " * indent + line for line in rest)]


def _width(text: str) -> int:
    """The columns that *text* takes on a terminal: Chinese signs take two, marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )
