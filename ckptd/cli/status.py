"""`status`: what the running ckptds see; where none runs, what there is to see now."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from ckptd import beneath, render
from ckptd import status as board
from ckptd.cli.tables import in_place, show
from ckptd.mounts import asked_around
from ckptd.render import Block, Report
from ckptd.units import show_text

# `--follow` asks this often whether a file has changed, and looks anew this often regardless: a
# daemon that was killed changes no file. In seconds.
ASKED: Final = 0.5
LOOKED: Final = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to show: reports of daemons; without any, what this command saw itself.

    `others` are pids of daemons that have no run of this user, `troubles` sentences.
    """

    daemons: tuple[Report, ...]
    itself: Report | None
    others: tuple[int, ...]
    troubles: tuple[str, ...]


def status(arguments: argparse.Namespace) -> int:
    """`ckptd status [PATH...]`: 0; with `--follow` it goes on until it is interrupted."""
    if not arguments.follow:
        _print(_seen(arguments), arguments)
    elif arguments.json or not sys.stdout.isatty():
        _append(arguments)
    else:
        _follow(arguments)
    return 0


def _seen(arguments: argparse.Namespace) -> Seen:
    found = board.read(arguments.state)
    paths = asked_around(lambda: [beneath.real(os.path.abspath(p)) for p in arguments.paths])
    narrowed = (board.narrow(report, paths) for report in found.reports)
    daemons = tuple(report for report in narrowed if report is not None)
    itself = None if daemons else _look(arguments)
    return Seen(daemons, itself, found.others, found.troubles)


def _look(arguments: argparse.Namespace) -> Report | None:
    """What `plan` would see; None when nothing says where to look.

    Imported only here is all that looking takes. A PATH adopts nothing: it is shown as it is.
    """
    from ckptd.cli.once import must_exist, planned
    from ckptd.cli.start import reading, settings_of

    settings = settings_of(arguments)
    must_exist(arguments.paths)
    if not settings.watches:
        return None
    if arguments.paths:
        watches = tuple(replace(watch, named=False, adopt="new") for watch in settings.watches)
        settings = replace(settings, watches=watches)
    look, decided = planned(reading(arguments, settings))
    return render.report_of(render.report_json(decided, look.world))


# --- showing -----------------------------------------------------------------------------


def _print(seen: Seen, arguments: argparse.Namespace) -> None:
    _complain(seen)
    if arguments.json:
        print(render.dumps(_document(seen)))
    else:
        show(_blocks(seen, arguments.paths))


def _append(arguments: argparse.Namespace) -> None:
    """Prints it anew below whenever it changed: a line of JSON, or the text."""
    before = None
    for seen in _changes(arguments):
        document = _document(seen)
        if (now := _lasting(document)) == before:
            continue
        before = now
        if arguments.json:
            print(render.dumps(document, indent=None), flush=True)
        else:
            show([*_blocks(seen, arguments.paths), Block("")])


def _follow(arguments: argparse.Namespace) -> None:
    with in_place() as show_here:
        for seen in _changes(arguments):
            troubles = [Block(text, tone="warn") for text in seen.troubles]
            show_here([*_blocks(seen, arguments.paths), *troubles])


def _changes(arguments: argparse.Namespace) -> Iterator[Seen]:
    """What is seen whenever that may have changed; without end."""
    while True:
        stamp = board.stamp(arguments.state)
        yield _seen(arguments)
        until = time.monotonic() + LOOKED
        while time.monotonic() < until and board.stamp(arguments.state) == stamp:
            time.sleep(ASKED)


def _complain(seen: Seen) -> None:
    for trouble in seen.troubles:
        print(f"ckptd: {show_text(trouble)}", file=sys.stderr)


def _document(seen: Seen) -> render.Document:
    return {
        "version": 1,
        "daemons": [report.document for report in seen.daemons],
        "seen": seen.itself.document if seen.itself else None,
    }


def _lasting(document: render.Document) -> render.Document:
    """Without the moment of this command's own look: nothing changed by it."""
    seen = document["seen"]
    return document | {"seen": seen and {k: v for k, v in seen.items() if k != "made_at"}}


def _blocks(seen: Seen, paths: Sequence[str]) -> list[Block]:
    now = datetime.now(UTC)
    if seen.daemons:
        return [block for report in seen.daemons for block in render.overview(report, now)]
    nobody = _nobody(seen.others, paths)
    if seen.itself is None:
        way = "ckptd status PATH looks at PATH" if not seen.others else "it has no run of yours"
        return [Block(f"{nobody}, and no watch is configured; {way}.")]
    heading = Block(f"{nobody}; this is what there is now.")
    return [heading, *render.overview(seen.itself, now)]


def _nobody(others: Sequence[int], paths: Sequence[str]) -> str:
    if others:
        return f"The ckptd that is running (pid {others[0]}) shows no run of yours"
    return "No ckptd is running there" if paths else "No ckptd is running"
