"""`watch`: the daemon in the foreground; what the systemd unit runs."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import Final

from ckptd.cli.start import acting, configuration_of
from ckptd.daemon import Daemon
from ckptd.daemon.reload import Reload
from ckptd.errors import ConfigError

ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
HEARD: Final = ENDING | {signal.SIGHUP}


def watch(arguments: argparse.Namespace) -> int:
    """`ckptd watch [PATH...]`: 0 when stopped by SIGTERM or SIGINT."""
    configuration = configuration_of(arguments)
    settings = configuration.settings
    if not settings.watches:
        raise ConfigError(
            "nothing to watch: no PATH is given and no [[watch]] is configured",
            hint="ckptd watch PATH, or a [[watch]] with a path in the configuration",
        )
    # A thread waits for them: a handler would run only once the main thread's own wait is over.
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    with acting(arguments, settings, talk=True) as daemon:
        daemon.reload = Reload(configuration)
        threading.Thread(target=_heed_signals, args=(daemon,), daemon=True).start()
        daemon.serve()
    return 0


def _heed_signals(daemon: Daemon) -> None:
    """SIGHUP reads the configuration again; on a terminal it means that the terminal is gone."""
    while signal.sigwait(HEARD) not in ENDING and not sys.stderr.isatty():
        daemon.reconfigure()
    daemon.stop()
