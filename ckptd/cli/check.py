"""`check`: whether all is well for a start, for the head of a training script.

    {"version": 1, "ok": true,
     "checks": [{"name", "path", "state": "ok|warning|failed", "text"}],
     "filesystems": [as in plan]}

`name` is one of configuration, notify, ledger, watch, trash, events, ckptd, drop_in, trust,
adopted, inotify_watches, inotify_instances, used, need, inodes; `path` is null for what has none.
`ok` says that nothing failed. Used shares and free bytes are what statvfs says of the path: a
project quota shows there, a quota of the user does not.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from ckptd import check as checks
from ckptd import disk, policy, render
from ckptd.check import Check, Seen, State, Wanted
from ckptd.cli import ledgers
from ckptd.cli.once import looking
from ckptd.cli.start import reading, settings_of, whom_to_tell
from ckptd.config import Watch
from ckptd.errors import ConfigError, UnansweredError, UnreadableError
from ckptd.model import Filesystem, Plan, Unreadable
from ckptd.mounts import asked
from ckptd.observe import Eyes, Look
from ckptd.observe.watches import is_below
from ckptd.policy import Marks
from ckptd.policy.pressure import demand
from ckptd.render.blocks import Block, Column, Row, Tone
from ckptd.status import read
from ckptd.units import parse_bytes, parse_share, show_text

T = TypeVar("T")

TONES: Final[Mapping[State, Tone]] = {
    State.OK: "good",
    State.WARNING: "warn",
    State.FAILED: "bad",
}


def check(arguments: argparse.Namespace) -> int:
    """`ckptd check [PATH...]`: 0, 2 usage or configuration, 4 unusable in part, 5 too full."""
    max_used = _option(arguments.max_used, "--max-used", parse_share)
    need = _option(arguments.need, "--need", parse_bytes) or 0
    settings = settings_of(arguments)
    if not settings.watches:
        raise ConfigError(
            "nothing to check: no PATH is given and no [[watch]] is configured",
            hint="ckptd check PATH, or a [[watch]] with a path in the configuration",
        )
    exposed = whom_to_tell(settings)
    eyes = reading(arguments, settings)
    look = looking(eyes)
    filesystems = tuple(_filesystems(eyes, look))
    wanted = Wanted(max_used, need, _promising(look), arguments.paths)
    found = (
        _configuration(eyes),
        *(Check("notify", p.where, State.WARNING, str(p)) for p in exposed),
        checks.ledger(ledgers.directory(arguments.state)[0]),
        *_watches(eyes, look, arguments.state),
        *checks.inotify(len(look.directories) + len(look.writing)),
        *(c for fs in filesystems for c in checks.disk(fs, settings.policies.marks_of(fs), wanted)),
    )
    _show(found, filesystems, eyes, arguments)
    return checks.status(found)


def _option(text: str | None, name: str, parse: Callable[[str], T]) -> T | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _configuration(eyes: Eyes) -> Check:
    files = [source for source in eyes.settings.source if source.startswith("/")]
    text = f"read from {', '.join(map(show_text, files))}" if files else "no file; defaults hold"
    return Check("configuration", "", State.OK, text)


def _watches(eyes: Eyes, look: Look, state: str | None) -> Iterator[Check]:
    reports = read(state).reports
    tellers = tuple(report.teller for report in reports if report.teller)
    watches = eyes.watches()
    away = {lost.path: lost.error for lost in look.world.unreadable if lost.unanswered}
    for path, why in away.items():
        yield Check("watch", path, State.FAILED, f"{show_text(path)} cannot be seen: {why}")
    if not watches and not away:
        patterns = ", ".join(show_text(watch.path) for watch in eyes.settings.watches)
        yield Check("watch", "", State.WARNING, f"{patterns}: no directory there matches yet")
    for watch in (watch for watch in watches if watch.path not in away):
        lost = (each for each in look.world.unreadable if not each.passed_over)
        seen = Seen(
            watch,
            tuple(run for run in look.world.runs if run.watch == watch.path),
            tuple(each for each in lost if is_below(each.path, watch.path)),
            tuple(each for each in look.world.frozen if _concerns(each, watch)),
            tellers,
            eyes.is_run,
        )
        try:
            yield from asked(watch.path, partial(_checked, seen), roams=True)
        except UnansweredError as error:
            text = f"{show_text(watch.path)} cannot be seen: {error}"
            yield Check("watch", watch.path, State.FAILED, text)


def _checked(seen: Seen) -> tuple[Check, ...]:
    return tuple(checks.watch(seen))


def _concerns(drop_in: Unreadable, watch: Watch) -> bool:
    """Whether it lies in the watch, or in a directory above it."""
    directory = os.path.dirname(drop_in.path)
    return is_below(directory, watch.path) or is_below(watch.path, directory)


def _filesystems(eyes: Eyes, look: Look) -> Iterator[Filesystem]:
    """Those that the look measured, and those of watches that do not exist yet."""
    known = {(fs.mount, fs.total) for fs in look.world.filesystems}
    yield from look.world.filesystems
    for watch in eyes.watches():
        with suppress(UnreadableError):  # the check of this watch says so
            measured = asked(watch.path, partial(disk.measure, watch.path))
            if (measured.mount, measured.total) not in known:
                known.add((measured.mount, measured.total))
                yield measured


def _promising(look: Look) -> Callable[[Filesystem, Marks], int]:
    def promised(filesystem: Filesystem, marks: Marks) -> int:
        """Bytes that `apply` with these marks would free, of those that they ask for."""
        policies = replace(look.policies, marks=marks, by_filesystem={})
        decided = policy.plan(look.world, policies, frozenset(), datetime.now(UTC))
        needs = (need for need in decided.filesystems if need.filesystem.path == filesystem.path)
        return sum(need.demand - need.shortfall for need in needs)

    return promised


# --- shown -------------------------------------------------------------------------------


def _show(
    found: Sequence[Check],
    filesystems: Sequence[Filesystem],
    eyes: Eyes,
    arguments: argparse.Namespace,
) -> None:
    if arguments.json:
        print(render.dumps(_document(found, filesystems, eyes)))
        return
    rows = tuple(Row((str(c.state), c.name, c.text), TONES[c.state]) for c in found)
    blocks = (Block(columns=(Column(), Column(), Column()), rows=rows),)
    print(render.lay_out(blocks, width=shutil.get_terminal_size().columns))


def _document(
    found: Sequence[Check], filesystems: Sequence[Filesystem], eyes: Eyes
) -> dict[str, Any]:
    marks_of = eyes.settings.policies.marks_of
    reliefs = tuple(demand(fs, marks_of(fs)) for fs in filesystems)
    document = render.plan_json(Plan(datetime.now(UTC), filesystems=reliefs))
    return {
        "version": document["version"],
        "ok": checks.status(tuple(found)) == 0,
        "checks": [
            {
                "name": check.name,
                "path": render.plain(check.path) or None,
                "state": str(check.state),
                "text": check.text,
            }
            for check in found
        ],
        "filesystems": document["filesystems"],
    }
