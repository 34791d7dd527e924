"""`config`: every value in force and where it came from, as a TOML file that means the same.

With --json:

    {"version": 1,
     "values": [{"key": "policy.keep_last", "value": 3, "from": {"file": "…", "line": 4}}],
     "watches": [{"path": "…", "from": {"file": "…", "line": 1}, "events": "auto", …}]}

`key` is dotted as in TOML, `value` as TOML has it. `from` is {"file", "line"}, {"option"} or,
where it is the default, null; that of a watch is where its path stands.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from ckptd import render
from ckptd.cli.start import real_run_of, settings_of, whom_to_tell
from ckptd.config import Settings, Source, Watch
from ckptd.config.effective import Effective, effective
from ckptd.config.lines import Place
from ckptd.config.schema import schema
from ckptd.config.sources import COMMAND_LINE, Origin
from ckptd.config.writing import toml_key, toml_value
from ckptd.errors import ConfigError, UnreadableError
from ckptd.model import DROP_IN
from ckptd.mounts import asked
from ckptd.observe.experiments import DropIns, Experiments
from ckptd.observe.watches import expand, is_below
from ckptd.units import show_text

COLUMN: Final = 33  # where the comments begin, unless a value is longer


def config(arguments: argparse.Namespace) -> int:
    """`ckptd config [PATH]`: 0, or 2 with every problem of the configuration."""
    if arguments.schema:
        print(render.dumps(schema()))
        return 0
    if len(arguments.paths) > 1:
        raise ConfigError("config takes one PATH", hint="what holds may differ from run to run")
    settings = settings_of(arguments, ())
    for problem in whom_to_tell(settings):
        print(f"ckptd: {problem}", file=sys.stderr)
    drop_ins = [source for path in arguments.paths for source in _drop_ins(path, settings)]
    values = effective(settings, drop_ins)
    print(render.dumps(_document(values)) if arguments.json else "\n".join(lines(values)))
    return 0


# --- the drop-ins that hold at PATH --------------------------------------------------------


def _drop_ins(path: str, settings: Settings) -> list[Source]:
    """The drop-ins that hold for a run at *path*, the farthest first. UnansweredError."""
    run = real_run_of(path)
    return asked(run, lambda: list(_above(run, settings)), roams=True)


def _above(run: str, settings: Settings) -> Iterator[Source]:
    try:
        uid = os.stat(run).st_uid
    except OSError as error:
        raise UnreadableError(f"{show_text(run)} cannot be seen: {error.strerror}") from error
    reader = DropIns()
    experiments = Experiments(settings, reader)
    holds = experiments.of(run, uid, _watch_of(run, settings))
    if holds.policy.frozen:
        raise ConfigError(holds.policy.frozen)
    for strange in experiments.strange.values():
        print(f"ckptd: {show_text(strange.path)}: {strange.error}", file=sys.stderr)
    for name in holds.policy_from:
        if os.path.basename(name) == DROP_IN and (found := reader.read(os.path.dirname(name), uid)):
            yield found.source


def _watch_of(run: str, settings: Settings) -> Watch:
    """The configured watch that *run* lies in, else what naming it on a command line makes."""
    for watch in settings.watches:
        if any(is_below(run, top) for top in expand(watch.path)):
            return watch
    return Watch(run, adopt="all", named=True)


# --- as TOML -------------------------------------------------------------------------------


def lines(values: Iterable[Effective]) -> Iterator[str]:
    """A TOML file of *values*, line by line, each with where it comes from.

    Those that follow other keys are comments, and so are secrets.
    """
    for place, its in groupby(values, key=lambda value: value.place[:-1]):
        if place:
            yield f"\n{_header(place)}"
        for value in its:
            off = "#" if value.follows or value.hidden else ""
            if value.value is None:  # a key without a default, which nobody set
                continue
            line = f"{off}{toml_key(value.place[-1:])} = {toml_value(value.value)}"
            yield f"{line:<{COLUMN}} # {_where(value.origin)}"


def _header(place: Place) -> str:
    return "[[watch]]" if place[0] == "watch" else f"[{toml_key(place)}]"


def _where(origin: Origin | None) -> str:
    if origin is None:
        return "default"
    if origin.source == COMMAND_LINE:
        return origin.key
    line = f" (line {origin.line})" if origin.line else ""
    return f"{show_text(origin.source)}{line}"


# --- as JSON -------------------------------------------------------------------------------


def _document(values: Iterable[Effective]) -> dict[str, Any]:
    plain: list[dict[str, Any]] = []
    watches: dict[str, dict[str, Any]] = {}
    for value in values:
        origin = _from(value.origin)
        if value.place[0] == "watch":
            watch = watches.setdefault(str(value.place[1]), {"path": None, "from": origin})
            watch[str(value.place[2])] = value.value
        else:
            shown = {"key": toml_key(value.place), "value": value.value}
            plain.append({**shown, "from": origin})
    return {"version": 1, "values": plain, "watches": list(watches.values())}


def _from(origin: Origin | None) -> dict[str, Any] | None:
    if origin is None:
        return None
    if origin.source == COMMAND_LINE:
        return {"option": origin.key}
    return {"file": render.plain(origin.source), "line": origin.line}
