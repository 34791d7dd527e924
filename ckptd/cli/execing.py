"""`exec`: COMMAND runs as if we were not there, and its checkpoints are watched meanwhile."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ckptd.cli.outdir import named_paths, output_directory
from ckptd.cli.start import acting, complain, settings_of
from ckptd.daemon import Daemon
from ckptd.errors import CkptdError, ConfigError
from ckptd.units import show_text

Disposition = Any  # what `signal.getsignal` answers
OWN_FAILURE: Final = 125
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
# Signals that a person or a job scheduler sends to end or to nudge the training.
PASSED_ON: Final = frozenset(
    {
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGCONT,
    }
)
# The terminal sends these to COMMAND itself; `si_code` tells it from kill(2).
FROM_KERNEL: Final = 0x80
# Addressed to us by a service manager, not to COMMAND.
OURS: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
# Before COMMAND starts, and after it ends, a wreck is waited for as long as it takes to settle.
PATIENCE: Final = 10.0


def exec(arguments: argparse.Namespace) -> int:  # noqa: A001  the word of the command line
    """`ckptd exec [PATH...] -- COMMAND...`: COMMAND's status, 128 + the signal that ended it.

    125 for a failure of our own, 126 and 127 as a shell has them.
    """
    command = arguments.command
    if not command:
        raise ConfigError("exec needs a COMMAND", hint="ckptd exec [PATH ...] -- COMMAND ...")
    settings = settings_of(arguments, arguments.paths or [_output_of(command)])
    lease = signal.getsignal(signal.SIGIO)  # ours is to ignore it from here on
    try:
        with acting(arguments, settings, talk=True) as daemon:
            daemon.eyes.command_lives = False  # yet
            daemon.eyes.wanted = named_paths(command)  # resumed from, though nobody runs yet
            daemon.settle(time.monotonic() + PATIENCE)
            daemon.warn_of_wrecks()
            return _beside(daemon, command, lease)
    except (CkptdError, OSError) as error:
        complain(error)
        return OWN_FAILURE


def _output_of(command: Sequence[str]) -> str:
    found = output_directory(command)
    if found is None:
        raise ConfigError(
            "COMMAND does not say where it saves to, so nothing would be watched",
            hint="ckptd exec PATH -- COMMAND, with the directory its checkpoints land in",
        )
    return found


def _beside(daemon: Daemon, command: Sequence[str], lease: Disposition) -> int:
    """Starts COMMAND, watches until it ends, then acts a last time."""
    # Blocked before the child exists, so that none is lost; the child gets our old mask back.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    child = _start(command, lambda: _as_before(before, lease))
    if isinstance(child, int):
        return child
    daemon.eyes.command_lives = True
    thread = threading.Thread(target=daemon.serve, name="ckptd", daemon=True)
    thread.start()
    status = _wait(child)
    daemon.stop()
    thread.join()
    daemon.eyes.command_lives = False
    daemon.eyes.wanted = frozenset()
    daemon.finish(time.monotonic() + PATIENCE)
    return status


def _start(command: Sequence[str], prepare: Callable[[], None]) -> subprocess.Popen[bytes] | int:
    environment = {k: v for k, v in os.environ.items() if k not in OURS}
    try:
        return subprocess.Popen(
            command,
            env=environment,
            preexec_fn=prepare,  # noqa: PLW1509  no thread runs yet
        )
    except FileNotFoundError:
        print(f"ckptd: {show_text(command[0])}: command not found", file=sys.stderr)
        return NOT_FOUND
    except OSError as error:
        print(f"ckptd: {show_text(command[0])}: {error.strerror}", file=sys.stderr)
        return NOT_EXECUTABLE


def _as_before(mask: set[int | signal.Signals], lease: Disposition) -> None:
    """In the child, before COMMAND: signals as they were for us at our start."""
    signal.signal(signal.SIGIO, lease)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """COMMAND's status; meanwhile signals go on to it."""
    while (status := child.poll()) is None:
        info = signal.sigtimedwait({*PASSED_ON, signal.SIGCHLD}, 1.0)
        if info is None or info.si_signo == signal.SIGCHLD:
            continue
        if info.si_code != FROM_KERNEL:
            child.send_signal(info.si_signo)
    return status if status >= 0 else 128 - status
