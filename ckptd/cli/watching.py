"""`watch`: the daemon in the foreground; what the systemd unit runs."""

from __future__ import annotations

import argparse
import signal
import threading
from typing import Final

from ckptd import procs
from ckptd.cli.start import acting, settings_of
from ckptd.daemon import Daemon
from ckptd.errors import ConfigError

STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def watch(arguments: argparse.Namespace) -> int:
    """`ckptd watch [PATH...]`: 0 when stopped by SIGTERM or SIGINT."""
    settings = settings_of(arguments)
    if not settings.watches:
        raise ConfigError(
            "nothing to watch: no PATH is given and no [[watch]] is configured",
            hint="ckptd watch PATH, or a [[watch]] with a path in the configuration",
        )
    # A thread waits for them: a handler would run only once the main thread's own wait is over.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    with acting(arguments, settings, talk=True) as daemon:
        procs.give_way()
        threading.Thread(target=_stop_on_signal, args=(daemon,), daemon=True).start()
        daemon.serve()
    return 0


def _stop_on_signal(daemon: Daemon) -> None:
    signal.sigwait(STOPPING)
    daemon.stop()
