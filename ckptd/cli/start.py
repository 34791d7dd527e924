"""What every command needs: settings, ledger, eyes, hands. Opened once, closed at the end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ckptd import beneath, config, procs, scan
from ckptd.config import Settings
from ckptd.errors import CkptdError
from ckptd.ledger import Ledger, Record
from ckptd.observe import Eyes
from ckptd.units import show_text

if TYPE_CHECKING:
    from ckptd.actions.recorded import Tell
    from ckptd.daemon import Daemon


def state_directory(chosen: str | None) -> str:
    """Where the ledger lies: `--state`, systemd's, root's, or the user's own."""
    if chosen:
        return os.path.abspath(chosen)
    if given := os.environ.get("STATE_DIRECTORY"):
        return given.split(":")[0]
    if os.geteuid() == 0:
        return "/var/lib/ckptd"
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "ckptd")


def settings_of(arguments: argparse.Namespace, paths: Sequence[str] | None = None) -> Settings:
    """The settings that a command line leads to. Raises ConfigError with every problem."""
    options = {
        key.removeprefix("option:"): value
        for key, value in vars(arguments).items()
        if key.startswith("option:") and value is not None
    }
    named = [run_of(path) for path in (arguments.paths if paths is None else paths)]
    return config.load(arguments.config, options, named)


def run_of(path: str) -> str:
    """PATH itself, or the run it lies in when it is inside a checkpoint."""
    here = os.path.realpath(path)
    while here != os.path.dirname(here):
        above = os.path.dirname(here)
        if scan.is_claim(above, os.path.basename(here)):
            return above
        here = above
    return path


def reading(arguments: argparse.Namespace, settings: Settings) -> Eyes:
    """Eyes that touch nothing: the ledger is read if it is there, never made."""
    beneath.ignore_lease_signals()
    ledger = Ledger.read_only(state_directory(arguments.state))
    return Eyes(settings, ledger, launchers=procs.ancestors())


@contextmanager
def acting(arguments: argparse.Namespace, settings: Settings, *, talk: bool) -> Iterator[Daemon]:
    """A daemon whose ledger records acts, and which *talks* of them on standard error.

    Raises LedgerError when no ledger can be kept.
    """
    from ckptd.actions.execute import Hands
    from ckptd.actions.lock import Locks
    from ckptd.actions.recover import recover
    from ckptd.daemon import Daemon

    beneath.ignore_lease_signals()
    with recording(arguments, talk=talk) as (ledger, tell):
        eyes = Eyes(settings, ledger, launchers=procs.ancestors())
        recover(ledger, tell)
        yield Daemon(eyes, ledger, Hands(eyes, ledger, tell), Locks())


@contextmanager
def recording(arguments: argparse.Namespace, *, talk: bool) -> Iterator[tuple[Ledger, Tell]]:
    """The ledger open for writing, and where its records are told."""
    from ckptd import audit, logs

    if talk:
        logs.configure("json" if arguments.json else "auto")
    with Ledger(state_directory(arguments.state)) as ledger:
        yield ledger, audit.tell if talk else _silence


def _silence(record: Record) -> None:
    """For a command that prints what it did itself."""
    del record


def complain(error: CkptdError | OSError) -> None:
    """The failure as lines for people on standard error."""
    for line in str(error).splitlines():
        print(f"ckptd: {show_text(line)}", file=sys.stderr)
