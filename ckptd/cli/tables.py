"""Blocks on a terminal, with rich: the door to it. Elsewhere, and where it is too narrow, as text.

Nothing that a name holds reaches the terminal as a control sequence, nor rich as markup.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from ckptd import render
from ckptd.render import Block
from ckptd.render.blocks import GAP, NARROWEST_LAST, Tone, used_columns, widths_of
from ckptd.units import show_text

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

STYLES: Final[dict[Tone, str]] = {
    "": "",
    "good": "green",
    "goes": "yellow",
    "warn": "magenta",
    "bad": "bold red",
    "faint": "dim",
}


class Show(Protocol):
    """Puts blocks before a person's eyes."""

    def __call__(self, blocks: Sequence[Block]) -> None: ...


def show(blocks: Sequence[Block]) -> None:
    """Prints *blocks* on standard output: a terminal gets tables and colours, others plain text."""
    if not sys.stdout.isatty():
        print(_plain(blocks), flush=True)
        return
    console = _console()
    console.print(_group(blocks, console.width), soft_wrap=False)


@contextmanager
def in_place() -> Iterator[Show]:
    """A function that shows blocks over those it showed before; for a terminal only."""
    from rich.live import Live

    console = _console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda blocks: live.update(_group(blocks, console.width), refresh=True)


def _plain(blocks: Sequence[Block]) -> str:
    return render.lay_out(blocks, width=shutil.get_terminal_size().columns)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def _group(blocks: Sequence[Block], width: int) -> Group:
    from rich.console import Group
    from rich.text import Text

    parts: list[Text | Table] = []
    for block in filter(None, blocks):
        parts += [Text("")] if parts else []
        if block.heading:
            parts.append(_line(block.heading, STYLES[block.tone] or "bold"))
        parts += [_line(line, STYLES[block.tone]) for line in block.above]
        parts += _rows(block, width)
        parts += [_line(line, "dim") for line in block.below]
    return Group(*parts)


def _rows(block: Block, width: int) -> list[Text | Table]:
    """As a table, its names whole where there is room for them; as text where there is none."""
    if not block.rows:
        return []
    for bounded in (False, True):
        *others, last = widths_of(block, bounded=bounded)
        if sum(others) + len(GAP) * len(others) + min(last, NARROWEST_LAST) <= width:
            return [_table(block, others)]
    bare = Block(columns=block.columns, rows=block.rows)
    return [_line(line, "") for line in render.lay_out([bare], width=width).splitlines()]


def _table(block: Block, widths: Sequence[int]) -> Table:
    from rich.table import Table

    used = used_columns(block)
    columns = [block.columns[n] for n in used]
    titles = [column.title for column in columns]
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), show_header=any(titles))
    for column, width in zip(columns, (*widths, None), strict=True):
        side = "right" if column.right else "left"
        table.add_column(column.title, justify=side, width=width, overflow="fold")  # type: ignore[arg-type]
    for row in block.rows:
        table.add_row(*(_line(row.cells[n], "") for n in used), style=STYLES[row.tone])
    return table


def _line(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(show_text(text), style=style, overflow="fold")
