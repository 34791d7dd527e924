"""`plan` and `apply`: one look, and for `apply` what follows from it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from ckptd import beneath, policy, procs, render
from ckptd.cli.progress import progress
from ckptd.cli.start import acting, reading, run_of, settings_of
from ckptd.cli.tables import show
from ckptd.errors import ConfigError, UnansweredError
from ckptd.model import Outcome, Plan
from ckptd.mounts import asked_around, reaching
from ckptd.observe import Eyes, Look
from ckptd.units import show_text

# `apply` waits out the calm after a save, and a save's settling, for this many seconds at most.
PATIENCE: Final = 10.0


def plan(arguments: argparse.Namespace) -> int:
    """`ckptd plan`: 0, or 2 for a usage error."""
    settings = settings_of(arguments)
    must_exist(arguments.paths)
    _, decided = planned(reading(arguments, settings))
    _show(decided, None, arguments)
    return 0


def apply(arguments: argparse.Namespace) -> int:
    """`ckptd apply`: 0, 3 when another ckptd acts there, 4 when done in part, 5 when short."""
    settings = settings_of(arguments)
    must_exist(arguments.paths)
    with acting(arguments, settings, talk=not sys.stderr.isatty()) as daemon:
        procs.give_way()
        with progress() as shown:
            daemon.eyes.beat = lambda: shown.step("looking and acting")
            decided, outcomes = daemon.settle(time.monotonic() + PATIENCE)
        _show(decided, outcomes, arguments)
        if daemon.stood_by and not outcomes:
            return 3
    return _status(decided, outcomes)


def named_checkpoint(path: str) -> str:
    """The absolute path of a checkpoint named on the command line, the links above it resolved.

    A path inside a checkpoint means that checkpoint.
    """
    path = os.path.abspath(path)
    return asked_around(lambda: _named_checkpoint(path))


def _named_checkpoint(path: str) -> str:
    run = run_of(path)
    real = os.path.join(beneath.real(os.path.dirname(path)), os.path.basename(path))
    with reaching(real):
        if run == path:
            return real
        inside = os.path.relpath(beneath.real(path), run)
        return os.path.join(run, inside.split(os.sep)[0])


def must_exist(paths: Sequence[str]) -> None:
    """Raises ConfigError for a PATH that leads to no run: a misspelt one must not look empty."""
    for path in paths:
        with suppress(UnansweredError):  # the look will say so
            asked_around(partial(_must_exist, path))


def _must_exist(path: str) -> None:
    run = run_of(path)
    with reaching(beneath.real(os.path.abspath(run))):
        if os.path.isdir(run):
            return
        fact = "is no directory" if os.path.exists(path) else "does not exist"
        raise ConfigError(f"{show_text(path)} {fact}, so there is nothing to look at")


def planned(eyes: Eyes) -> tuple[Look, Plan]:
    """One look, with everyone who uses what, and the plan that follows from it."""
    look = looking(eyes)
    decided = policy.plan(look.world, look.policies, frozenset(), datetime.now(UTC))
    return look, eyes.explain(decided, look.world)


def looking(eyes: Eyes) -> Look:
    """One look, which says so on a terminal where it takes long."""
    with progress() as shown:
        eyes.beat = lambda: shown.step("looking")
        return eyes.look(users=True)


def _show(decided: Plan, outcomes: Sequence[Outcome] | None, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(render.dumps(render.plan_json(decided, outcomes)))
        return
    show(render.plan_blocks(decided))
    for outcome in outcomes or ():
        print(render.outcome_text(outcome))


def _status(decided: Plan, outcomes: Sequence[Outcome]) -> int:
    """The exit status: in part is worse than short of space, both are worth a look."""
    unseen = any(not lost.passed_over for lost in decided.unreadable)
    if unseen or any(not outcome.ok for outcome in outcomes):
        return 4
    return 5 if any(need.shortfall for need in decided.filesystems) else 0
