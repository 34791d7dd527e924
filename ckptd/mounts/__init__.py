"""Which filesystem a path lies on, and whether it answers."""

from ckptd.mounts.asking import asked, asked_around, collect, on_answer, reaching, silent, step
from ckptd.mounts.table import UNKNOWN, Mount, Mounts, now, of_process

__all__ = [
    "UNKNOWN",
    "Mount",
    "Mounts",
    "asked",
    "asked_around",
    "collect",
    "now",
    "of_process",
    "on_answer",
    "reaching",
    "silent",
    "step",
]
