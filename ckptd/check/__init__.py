"""Whether all is well for a start: watches, limits, disks. Reads; makes and takes nothing."""

from ckptd.check.disks import Wanted, disk
from ckptd.check.finding import Check, State, status
from ckptd.check.limits import inotify, ledger
from ckptd.check.place import Seen
from ckptd.check.place import check as watch

__all__ = ["Check", "Seen", "State", "Wanted", "disk", "inotify", "ledger", "status", "watch"]
