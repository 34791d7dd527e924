"""`plan`, `apply` and `why`: one look, and for `apply` what follows from it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ckptd import policy, render
from ckptd.cli.start import acting, reading, run_of, settings_of
from ckptd.errors import CkptdError, ConfigError
from ckptd.ledger import LedgerView
from ckptd.model import Outcome, Plan, TrashItem, Verdict
from ckptd.observe import Eyes
from ckptd.units import show_text

# `apply` waits out the calm after a save, and a save's settling, for this many seconds at most.
PATIENCE: Final = 10.0


def plan(arguments: argparse.Namespace) -> int:
    """`ckptd plan`: 0, or 2 for a usage error."""
    settings = settings_of(arguments)
    must_exist(arguments.paths)
    _show(_planned(reading(arguments, settings)), None, arguments)
    return 0


def apply(arguments: argparse.Namespace) -> int:
    """`ckptd apply`: 0, 3 when another ckptd acts there, 4 when done in part, 5 when short."""
    settings = settings_of(arguments)
    must_exist(arguments.paths)
    with acting(arguments, settings, talk=not sys.stderr.isatty()) as daemon:
        decided, outcomes = daemon.settle(time.monotonic() + PATIENCE)
        _show(decided, outcomes, arguments)
        if daemon.stood_by and not outcomes:
            return 3
    return _status(decided, outcomes)


def why(arguments: argparse.Namespace) -> int:
    """`ckptd why PATH`: 0, or 1 when nothing is known of PATH."""
    if len(arguments.paths) != 1:
        raise ConfigError("why takes one checkpoint at a time")
    path = named_checkpoint(arguments.paths[0])
    eyes = reading(arguments, settings_of(arguments, [os.path.dirname(path)]))
    decided = _planned(eyes)
    verdict = next((v for v in decided.verdicts if v.checkpoint.path == path), None)
    if verdict is not None:
        print(_verdict(verdict, decided, arguments))
        return 0
    print(_gone(path, eyes, arguments))
    return 0


def named_checkpoint(path: str) -> str:
    """The absolute path of a checkpoint named on the command line, the links above it resolved.

    A path inside a checkpoint means that checkpoint.
    """
    path = os.path.abspath(path)
    run = run_of(path)
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    if run == path:
        return real
    inside = os.path.relpath(os.path.realpath(path), run)
    return os.path.join(run, inside.split(os.sep)[0])


def must_exist(paths: Sequence[str]) -> None:
    """Raises ConfigError for a PATH that leads to no run: a misspelt one must not look empty."""
    for path in paths:
        if not os.path.isdir(run_of(path)):
            fact = "is no directory" if os.path.exists(path) else "does not exist"
            raise ConfigError(f"{show_text(path)} {fact}, so there is nothing to look at")


def _planned(eyes: Eyes) -> Plan:
    look = eyes.look(users=True)
    return policy.plan(look.world, eyes.settings.policies, frozenset(), datetime.now(UTC))


def _show(decided: Plan, outcomes: Sequence[Outcome] | None, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(render.dumps(render.plan_json(decided, outcomes)))
        return
    width = shutil.get_terminal_size().columns
    print(render.plan_text(decided, width=width))
    for outcome in outcomes or ():
        print(render.outcome_text(outcome))


def _status(decided: Plan, outcomes: Sequence[Outcome]) -> int:
    """The exit status: in part is worse than short of space, both are worth a look."""
    unseen = any(not lost.passed_over for lost in decided.unreadable)
    if unseen or any(not outcome.ok for outcome in outcomes):
        return 4
    return 5 if any(need.shortfall for need in decided.filesystems) else 0


def _verdict(verdict: Verdict, decided: Plan, arguments: argparse.Namespace) -> str:
    run = next(r for r in decided.runs if verdict in r.verdicts)
    if arguments.json:
        return render.dumps(render.verdict_json(verdict))
    return render.verdict_text(verdict, run)


def _gone(path: str, eyes: Eyes, arguments: argparse.Namespace) -> str:
    """What is known of a checkpoint that is no longer in its run."""
    items = [item for item in eyes.look(users=False).world.trash if item.path == path]
    if items:
        return _in_trash(items[-1], arguments)
    return _in_ledger(path, eyes.ledger, arguments)


def _in_trash(item: TrashItem, arguments: argparse.Namespace) -> str:
    if arguments.json:
        return render.dumps(render.trash_json(item))
    return render.trash_text(item)


def _in_ledger(path: str, ledger: LedgerView, arguments: argparse.Namespace) -> str:
    record = ledger.last(path)
    if record is None:
        raise CkptdError(f"{show_text(path)} is no checkpoint that ckptd knows of")
    if arguments.json:
        return render.dumps(render.gone_json(path, record.event, record.reason))
    when = datetime.fromtimestamp(record.at).astimezone().isoformat(" ", "seconds")
    return f"{show_text(path)}: {record.event} at {when}: {show_text(record.reason)}"
