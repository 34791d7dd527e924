"""Who uses what, and which processes we have to do with."""

from ckptd.procs.kept import Keeper, keepers
from ckptd.procs.life import ancestors, began, booted_at, give_way
from ckptd.procs.snapshot import Snapshot, look

__all__ = [
    "Keeper",
    "Snapshot",
    "ancestors",
    "began",
    "booted_at",
    "give_way",
    "keepers",
    "look",
]
