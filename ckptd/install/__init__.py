"""ckptd as a service of this machine, or of one user: its files put in place, and taken away.

What a person has changed is never overwritten and never removed. There is no entry for sysusers,
as ckptd acts in the rights of each run's owner and has no user of its own, and none for tmpfiles:
systemd makes the directories that the unit names.
"""

from __future__ import annotations

from ckptd.install.installing import Report, install, uninstall
from ckptd.install.scope import Scope

__all__ = ["Report", "Scope", "install", "uninstall"]
