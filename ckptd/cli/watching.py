"""`watch`: the daemon in the foreground; what the systemd unit runs."""

from __future__ import annotations

import argparse
import signal
from types import FrameType

from ckptd import procs
from ckptd.cli.session import acting, settings_of
from ckptd.errors import ConfigError


def watch(arguments: argparse.Namespace) -> int:
    """`ckptd watch [PATH...]`: 0 when stopped by SIGTERM or SIGINT."""
    settings = settings_of(arguments)
    if not settings.watches:
        raise ConfigError(
            "nothing to watch: no PATH is given and no [[watch]] is configured",
            hint="ckptd watch PATH, or a [[watch]] with a path in the configuration",
        )
    with acting(arguments, settings, talk=True) as daemon:

        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            daemon.stop()

        procs.give_way()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        daemon.serve()
    return 0
