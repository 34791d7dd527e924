"""`advise`: which settings fit the disk, from what the saves on it were like.

    {"version": 1,
     "filesystems": [{"path", "mount", "fstype", "total", "free", "used_percent", "inodes_free",
                      "state", "demand", "reserve", "shortfall", "full_in_seconds",
                      "runs_under_way", "bytes_per_hour"}],
     "runs": [{"path", "under_way", "save_bytes", "save_interval_seconds", "steps_between_saves",
               "seconds_per_step", "bytes_per_hour", "full_in_seconds", "save_total_limit",
               "save_steps", "crash_costs_seconds", "policy": {"keep_last", "command"},
               "sentences": ["…"], "arithmetic": ["…"]}]}

The first keys of a filesystem are those of `plan`. What is not known or does not fit is null;
`sentences` say why. `full_in_seconds` of a run counts it as under way.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from ckptd import render
from ckptd.advice import Advice, Forecast, Place, forecast, words
from ckptd.advice import advise as advise_on
from ckptd.cli.once import looking, must_exist
from ckptd.cli.start import reading, real_run_of, settings_of
from ckptd.model import Plan, Run
from ckptd.observe import Eyes, Look
from ckptd.observe.watches import is_below
from ckptd.policy.pressure import demand
from ckptd.render.blocks import Block, Column, Row
from ckptd.render.wording import counted
from ckptd.units import show_bytes, show_duration

LEGEND: Final = "save_total_limit and save_steps are the trainer's own; keep_last is ckptd's."


def advise(arguments: argparse.Namespace) -> int:
    """`ckptd advise [PATH...]`: 0, or 2 for a usage error."""
    named = settings_of(arguments)
    must_exist(arguments.paths)
    # Runs elsewhere on the same disk fill it as well.
    watches = (*named.watches, *settings_of(arguments, []).watches) if arguments.paths else None
    eyes = reading(arguments, replace(named, watches=watches or named.watches))
    look, now = looking(eyes), time.time()
    wanted = [real_run_of(path) for path in arguments.paths] or ["/"]
    places = [p for p in _places(look, eyes) if any(_is_wanted(r, wanted) for r in p.runs)]
    told = [(forecast(p, now), p, _of(wanted, advise_on(p, now))) for p in places]
    if arguments.json:
        print(render.dumps(_document(told)))
    else:
        blocks = tuple(_blocks(told))
        print(render.lay_out(blocks, width=shutil.get_terminal_size().columns))
    return 0


Told = tuple[Forecast, Place, tuple[Advice, ...]]


def _is_wanted(run: Run, wanted: Sequence[str]) -> bool:
    return any(is_below(run.path, path) for path in wanted)


def _of(wanted: Sequence[str], advices: Iterable[Advice]) -> tuple[Advice, ...]:
    return tuple(advice for advice in advices if _is_wanted(advice.run, wanted))


def _places(look: Look, eyes: Eyes) -> Iterator[Place]:
    for filesystem in look.world.filesystems:
        runs = tuple(run for run in look.world.runs if run.filesystem == filesystem.path)
        yield Place(filesystem, eyes.settings.policies.marks_of(filesystem), runs)


# --- for people --------------------------------------------------------------------------


def _blocks(told: Sequence[Told]) -> Iterator[Block]:
    if not told:
        yield Block("No run with checkpoints was found, so there is nothing to measure yet.")
        return
    for foretold, _, advices in told:
        filesystem = foretold.filesystem
        name = f"{filesystem.mount} ({filesystem.fstype})"
        yield _block(name, [Row(("", text)) for text in _forecast(foretold)])
        for advice in advices:
            yield _block(_heading(advice), list(_rows(advice)))
    yield Block(LEGEND)


def _block(heading: str, rows: Sequence[Row]) -> Block:
    indented = (Row((f"  {row.cells[0]}", row.cells[1]), row.tone) for row in rows)
    return Block(heading, columns=(Column(), Column()), rows=tuple(indented))


def _forecast(foretold: Forecast) -> Iterator[str]:
    yield f"{show_bytes(foretold.filesystem.free)} are free for users"
    if not foretold.under_way:
        yield "no run is under way there"
        return
    pace = f"{show_bytes(round(foretold.bytes_per_hour))} an hour"
    yield f"{counted(foretold.under_way, 'run')} under way: {pace}"
    yield _full(foretold.full_in_seconds)


def _full(seconds: float | None) -> str:
    if seconds is None:
        return "nothing that is known fills it"
    return f"full in {show_duration(seconds)} when nothing is let go"


def _heading(advice: Advice) -> str:
    run = advice.run
    facts = [
        run.format,
        counted(len(run.checkpoints), "checkpoint"),
        show_bytes(sum(c.bytes for c in run.checkpoints)),
        "under way" if advice.under_way else "not under way",
        *([f"its trainer keeps {run.trainer_limit}"] if run.trainer_limit else []),
    ]
    return f"{run.path}  ({', '.join(facts)})"


def _rows(advice: Advice) -> Iterator[Row]:
    if advice.rhythm:
        yield Row(("size", words.size(advice.rhythm)))
        if pace := words.pace(advice.rhythm):
            going = "" if advice.under_way else "if it went on: "
            yield Row(("rhythm", pace))
            yield Row(("disk", f"{going}{_full(advice.full_in_seconds)}"))
    for sentence in advice.sentences:
        yield Row(("note", sentence), "warn")
    yield from _settings(advice)
    for nth, line in enumerate(advice.arithmetic):
        yield Row(("arithmetic" if nth == 0 else "", line), "faint")


def _settings(advice: Advice) -> Iterator[Row]:
    if advice.save_total_limit:
        yield Row(("save_total_limit", f"{advice.save_total_limit} at most"), "good")
    if advice.save_steps and advice.rhythm:
        costs = words.loss(advice.rhythm, advice.save_steps)
        text = f"{advice.save_steps} at least, to keep every save of 24 h; {costs}"
        yield Row(("save_steps", text), "good")
    if command := _command(advice):
        yield Row(("keep_last", f"{advice.keep_last} at most; or {command}"), "good")


def _command(advice: Advice) -> str | None:
    return f"ckptd exec --keep-last {advice.keep_last} -- COMMAND" if advice.keep_last else None


# --- as JSON -----------------------------------------------------------------------------


def _document(told: Sequence[Told]) -> dict[str, Any]:
    reliefs = tuple(
        replace(
            demand(foretold.filesystem, place.marks),
            full_in_seconds=foretold.full_in_seconds,
        )
        for foretold, place, _ in told
    )
    document = render.plan_json(Plan(datetime.now(UTC), filesystems=reliefs))
    added = (
        {"runs_under_way": f.under_way, "bytes_per_hour": f.bytes_per_hour} for f, _, _ in told
    )
    filesystems = document["filesystems"]
    return {
        "version": document["version"],
        "filesystems": [fs | more for fs, more in zip(filesystems, added, strict=True)],
        "runs": [_run(advice) for _, _, several in told for advice in several],
    }


def _run(advice: Advice) -> dict[str, Any]:
    rhythm, steps = advice.rhythm, advice.save_steps
    pace = rhythm.seconds_per_step if rhythm else None
    return {
        "path": render.plain(advice.run.path),
        "under_way": advice.under_way,
        "save_bytes": rhythm.bytes if rhythm else None,
        "save_interval_seconds": rhythm.seconds if rhythm else None,
        "steps_between_saves": rhythm.steps if rhythm else None,
        "seconds_per_step": pace,
        "bytes_per_hour": round(rhythm.bytes_per_hour) if rhythm and rhythm.seconds else None,
        "full_in_seconds": advice.full_in_seconds,
        "save_total_limit": advice.save_total_limit,
        "save_steps": steps,
        "crash_costs_seconds": steps * pace / 2 if steps and pace else None,
        "policy": {"keep_last": advice.keep_last, "command": _command(advice)},
        "sentences": list(advice.sentences),
        "arithmetic": list(advice.arithmetic),
    }
