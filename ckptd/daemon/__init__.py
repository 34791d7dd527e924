"""The daemon: its loop, what systemd hears of it, and the configuration while it runs."""

from ckptd.daemon.loop import Daemon

__all__ = ["Daemon"]
