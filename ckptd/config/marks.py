"""The marks of all filesystems and of single ones, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from ckptd.config.lines import Place
from ckptd.config.sources import COMMAND_LINE, Said, Source
from ckptd.errors import Problem
from ckptd.policy import Marks
from ckptd.units import Share, show_bytes


def marks_of(chosen: Source) -> tuple[Marks, dict[str, Marks]]:
    """The marks of every filesystem, and those of the ones that have a table of their own."""
    single = {path: _marks(chosen, path) for path in chosen.tables("disk")}
    return _marks(chosen), single


def _marks(chosen: Source, *path: str) -> Marks:
    found = {field.name: mark_said(chosen, field.name, *path) for field in fields(Marks)}
    return replace(Marks(), **{key: said.value for key, said in found.items() if said})


def mark_said(chosen: Source, key: str, *path: str) -> Said | None:
    """Where *key* was said for a filesystem; an option holds for every one of them."""
    everywhere = chosen.values.get(("disk", key))
    if everywhere and everywhere.origin.source == COMMAND_LINE:
        return everywhere
    return chosen.values.get(("disk", *path, key), everywhere)


def out_of_order(chosen: Source) -> Iterator[Problem]:
    """Marks of one kind are comparable; a share and a size depend on the disk."""
    everywhere, single = marks_of(chosen)
    yield from _out_of_order(chosen, everywhere)
    for path, marks in single.items():
        if marks != everywhere:
            yield from _out_of_order(chosen, marks, path)


def _out_of_order(chosen: Source, marks: Marks, *path: str) -> Iterator[Problem]:
    if _above(marks.low, marks.high, or_equal=True):
        text = f"low ({_shown(marks.low)}) is not below high ({_shown(marks.high)})"
        where = _where(chosen, ("low", "high"), *path)
        yield Problem(where, text, "letting go begins at high and ends at low")
    if _above(marks.high, marks.hard):
        text = f"high ({_shown(marks.high)}) is above hard ({_shown(marks.hard)})"
        where = _where(chosen, ("high", "hard"), *path)
        yield Problem(where, text, "hard is the alarm after high; raise it")


def _where(chosen: Source, keys: tuple[str, str], *path: str) -> str:
    """The strongest place that set one of *keys*; the defaults themselves are in order."""
    places: list[Place] = [("disk", *path, key) for key in keys]
    places += [("disk", key) for key in keys]
    return str(chosen.values[max(places, key=chosen.rank)].origin)


def _above(one: Share | int, other: Share | int, *, or_equal: bool = False) -> bool:
    if isinstance(one, Share) and isinstance(other, Share):
        gap = one.percent - other.percent
    elif isinstance(one, int) and isinstance(other, int):
        gap = one - other
    else:
        return False
    return gap > 0 or (or_equal and gap == 0)


def _shown(mark: Share | int) -> str:
    return show_bytes(mark) if isinstance(mark, int) else str(mark)
