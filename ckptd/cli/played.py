"""What came of a simulation, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ckptd import render
from ckptd.model import World
from ckptd.render.blocks import Block, Column, Row
from ckptd.render.wording import counted
from ckptd.simulation import Course, Curve, Played
from ckptd.units import show_bytes, show_duration, show_text

COLUMNS: Final = (
    Column(),
    Column("full after", right=True),
    Column("peak", right=True),
    Column("kept", right=True),
    Column("let go", right=True),
    Column("going back costs"),
)
MOST_SHOWN: Final = 5
LEGEND: Final = (
    "Going back to a moment of the training costs what comes after the kept checkpoint before it;"
    " on average, with every moment as likely"
)


@dataclass(frozen=True, slots=True)
class Plays:
    """All that was played, by the word that it has in JSON, over so many *hours*."""

    world: World
    ways: tuple[Course, ...]
    hours: float
    save_total_limit: int
    by_word: Mapping[str, Played]


# --- for people --------------------------------------------------------------------------


def opening(plays: Plays) -> Iterator[str]:
    """What was played."""
    for way in plays.ways[:MOST_SHOWN]:
        often = f"one every {show_duration(way.every)}, for {plays.hours:g} h"
        yield f"{show_text(way.path)}: {show_bytes(way.bytes)} a save, {often}"
    if (more := len(plays.ways) - MOST_SHOWN) > 0:
        yield f"and {counted(more, 'other run')}"


def curves_of(plays: Plays) -> Iterator[tuple[Curve, Mapping[str, Curve]]]:
    """For each filesystem that something goes on at: its curves by the names of the plays."""
    going = {way.path for way in plays.ways}
    for n, filesystem in enumerate(plays.world.filesystems):
        here = (r for r in plays.world.runs if filesystem.bounds(r.path, r.filesystem))
        if going & {run.path for run in here}:
            curves = {played.name: played.curves[n] for played in plays.by_word.values()}
            yield next(iter(curves.values())), curves


def closing(plays: Plays) -> Iterator[Block]:
    """What came of it."""
    rows = tuple(_row(played) for played in plays.by_word.values())
    yield Block(columns=COLUMNS, rows=rows)
    told = tuple(Row((f"{sentence}.",)) for sentence in (*sentences(plays), LEGEND))
    yield Block(columns=(Column(),), rows=told)


def _row(played: Played) -> Row:
    full = played.full_in_seconds
    cells = (
        played.name,
        "never" if full is None else _hours(full),
        f"{max(_share(curve, curve.peak) for curve in played.curves):.0f} %",
        str(played.kept),
        str(played.let_go),
        _cost(played),
    )
    return Row(cells, "good" if full is None else "bad")


def _cost(played: Played) -> str:
    mean, most = played.replay.mean, played.replay.most
    return f"{show_duration(round(mean))}, {show_duration(round(most))} at most"


def _share(curve: Curve, used: int) -> float:
    usable = curve.filesystem.usable
    return 100 * used / usable if usable > 0 else 0.0


def sentences(plays: Plays) -> Iterator[str]:
    """What must not be overlooked in the numbers."""
    for played in plays.by_word.values():
        if played.full_in_seconds is not None:
            first, *more = map(show_text, played.dead)
            who = f"{first} and {counted(len(more), 'other')} end" if more else f"{first} ends"
            yield (
                f"With {played.name} the disk is full after {_hours(played.full_in_seconds)}:"
                f" a save finds no room (ENOSPC), and {who}"
            )
        if played.short_in_seconds is not None:
            yield (
                f"With {played.name} nothing more may be let go from"
                f" {_hours(played.short_in_seconds)} on, though more room is wanted"
            )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h"


# --- as JSON -----------------------------------------------------------------------------


def document(plays: Plays) -> dict[str, Any]:
    """The document that `ckptd.cli.simulate` describes."""
    return {
        "version": render.VERSION,
        "hours": plays.hours,
        "filesystems": [
            {
                "path": render.plain(filesystem.path),
                "limit": render.plain(filesystem.limit) or None,
                "used": filesystem.used,
                "free": filesystem.free,
            }
            for filesystem in plays.world.filesystems
        ],
        "runs": [
            {
                "path": render.plain(way.path),
                "save_bytes": way.bytes,
                "save_interval_seconds": way.every,
            }
            for way in plays.ways
        ],
        "save_total_limit": plays.save_total_limit,
        "plays": {word: _play(played) for word, played in plays.by_word.items()},
        "sentences": list(sentences(plays)) if plays.ways else [],
    }


def _play(played: Played) -> dict[str, Any]:
    return {
        "full_in_seconds": played.full_in_seconds,
        "short_in_seconds": played.short_in_seconds,
        "saved": played.saved,
        "kept": played.kept,
        "let_go": played.let_go,
        "dead": [render.plain(path) for path in played.dead],
        "replay_mean_seconds": played.replay.mean,
        "replay_most_seconds": played.replay.most,
        "filesystems": [_curve(curve) for curve in played.curves],
    }


def _curve(curve: Curve) -> dict[str, Any]:
    points: Sequence[tuple[float, int]] = curve.points
    return {
        "path": render.plain(curve.filesystem.path),
        "peak": curve.peak,
        "points": [[round(at, 3), used] for at, used in points],
    }
