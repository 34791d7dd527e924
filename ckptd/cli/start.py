"""What every command needs: settings, ledger, eyes, hands. Opened once, closed at the end."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ckptd import beneath, config, procs, scan
from ckptd.cli import ledgers
from ckptd.config import Settings
from ckptd.errors import CkptdError, ConfigError, Problem, UnansweredError
from ckptd.ledger import Ledger, Record
from ckptd.mounts import asked_around, reaching
from ckptd.observe import Eyes
from ckptd.units import show_text

if TYPE_CHECKING:
    from ckptd.actions.recorded import Tell
    from ckptd.audit import Audit
    from ckptd.daemon import Daemon
    from ckptd.daemon.alarms import Alarms
    from ckptd.status.board import Board

# Commands that stay, and that `ckptd status` shows.
STAYING: Final = frozenset({"watch", "exec"})
# How many seconds a command that a timer started waits for receivers of its messages.
PATIENCE: Final = 5.0


def settings_of(arguments: argparse.Namespace, paths: Sequence[str] | None = None) -> Settings:
    """The settings that a command line leads to. Raises ConfigError with every problem."""
    return config.load(*_asked_of(arguments, arguments.paths if paths is None else paths))


def _asked_of(
    arguments: argparse.Namespace, paths: Sequence[str]
) -> tuple[str | None, dict[str, str | list[str]], list[str]]:
    options = {
        key.removeprefix("option:"): value
        for key, value in vars(arguments).items()
        if key.startswith("option:") and value is not None
    }
    return arguments.config, options, [run_of(path) for path in paths]


def configuration_of(arguments: argparse.Namespace) -> config.Configuration:
    """As `settings_of`, for who wants to read it again."""
    return config.Configuration(*_asked_of(arguments, arguments.paths))


def whom_to_tell(settings: Settings) -> tuple[Problem, ...]:
    """What is unwise in [notify]. Raises ConfigError with what keeps it or [prometheus] from
    being obeyed: a running ckptd goes on without them, who asks before is to know.
    """
    notify, measures = settings.notify, settings.prometheus
    faults: tuple[Problem, ...] = ()
    exposed: tuple[Problem, ...] = ()
    if notify.urls or notify.urls_file is not None:
        from ckptd import notify as room

        faults, exposed = room.faults(notify), tuple(room.exposed(settings))
    if measures.textfile or measures.listen:
        from ckptd import prometheus

        faults += prometheus.faults(measures)
    if faults:
        raise ConfigError(faults)
    return exposed


def run_of(path: str) -> str:
    """PATH itself, or the run it lies in when it is inside a checkpoint.

    PATH as it stands where nobody answers: the look will say so.
    """
    try:
        return asked_around(lambda: _run_of(path) or path)
    except UnansweredError:
        return path


def real_run_of(path: str) -> str:
    """The real path of the run that PATH means. UnansweredError where nobody answers there."""
    return asked_around(lambda: _run_of(path) or beneath.real(os.path.abspath(path)))


def _run_of(path: str) -> str | None:
    here = beneath.real(os.path.abspath(path))
    with reaching(here):
        return _above_checkpoint(here)


def _above_checkpoint(here: str) -> str | None:
    while here != os.path.dirname(here):
        above = os.path.dirname(here)
        if scan.is_claim(above, os.path.basename(here)):
            return above
        here = above
    return None


def reading(arguments: argparse.Namespace, settings: Settings) -> Eyes:
    """Eyes that touch nothing: the ledger is read if it is there, never made."""
    beneath.ignore_lease_signals()
    return Eyes(settings, ledgers.view(arguments.state), launchers=procs.ancestors())


@contextmanager
def acting(arguments: argparse.Namespace, settings: Settings, *, talk: bool) -> Iterator[Daemon]:
    """A daemon whose ledger records acts, and which *talks* of them on standard error.

    One that stays is seen by `ckptd status`. Raises LedgerError when no ledger can be kept.
    """
    from ckptd.actions.execute import Hands
    from ckptd.actions.lock import Locks
    from ckptd.actions.recover import recover
    from ckptd.actions.refuge import reopen
    from ckptd.daemon import Daemon
    from ckptd.daemon.outside import Outside

    beneath.ignore_lease_signals()
    with recording(arguments, talk=talk) as (ledger, audit):
        board = _board(arguments, settings)
        alarms = _alarms(arguments, settings, talk=talk)
        tell = _told_to(audit, board, alarms)
        eyes = Eyes(settings, ledger, launchers=procs.ancestors())
        reopen(ledger, (watch.path for watch in eyes.watches()))
        recover(ledger, tell)
        ledger.prune(time.time())
        outside = Outside(audit, board, alarms=alarms)
        try:
            yield Daemon(eyes, ledger, Hands(eyes, ledger, tell), Locks(), outside=outside)
        finally:
            if alarms:
                alarms.close(0.0 if arguments.name in STAYING else PATIENCE)
                for record in alarms.records():
                    ledger.note(record)
                    tell(record)


def _board(arguments: argparse.Namespace, settings: Settings) -> Board | None:
    """Where a ckptd that stays shows what it sees."""
    if arguments.name not in STAYING:
        return None
    from ckptd.status.board import About, Board

    return Board.of(arguments.state, About(arguments.name, settings.mode).under(settings))


def _alarms(arguments: argparse.Namespace, settings: Settings, *, talk: bool) -> Alarms | None:
    """Whom a ckptd that stays tells besides, and an `apply` that no person has called.

    Prometheus hears of one that watches.
    """
    nightly = talk and arguments.name == "apply"
    if arguments.name not in STAYING and not nightly:
        return None
    from ckptd.daemon.alarms import Alarms

    alarms = Alarms(settings, measures=arguments.name == "watch")
    if nightly:
        alarms.serve()
    return alarms


def _told_to(audit: Audit, board: Board | None, alarms: Alarms | None) -> Tell:
    """One who hears of a record tells it to all of them."""
    from ckptd.audit import event

    def tell(record: Record) -> None:
        audit.tell(record)
        if board:
            board.hear(event(record))
        if alarms:
            alarms.hear(record)

    return tell


@contextmanager
def recording(arguments: argparse.Namespace, *, talk: bool) -> Iterator[tuple[Ledger, Audit]]:
    """The ledger open for writing, and the audit that its records are told to.

    Without *talk* the records wait for a ckptd that tells the journal: the command prints what it
    did itself.
    """
    from ckptd import logs
    from ckptd.audit import Audit

    form = booted = None
    if talk:
        form = logs.configure("json" if arguments.json else "auto")
    others = form == "journal" or arguments.name == "watch"
    if form == "journal":
        booted = procs.booted_at()
    with ledgers.opened(arguments.state) as ledger:
        audit = Audit(ledger, talk=talk, others=others, booted=booted)
        try:
            yield ledger, audit
        finally:
            audit.close()


def complain(error: CkptdError | OSError) -> None:
    """The failure as lines for people on standard error."""
    for line in str(error).splitlines():
        print(f"ckptd: {show_text(line)}", file=sys.stderr)
