"""A world that was thought up: some trainings alike that begin to write to one disk."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from ckptd.model import Filesystem, Run, World
from ckptd.simulation.course import Course

PLACE: Final = "/data"
STEPS: Final = 100  # between two saves


def invented(
    disk: int, used: int, *, save: int, every: float, runs: int, now: datetime
) -> tuple[World, tuple[Course, ...]]:
    """*runs* trainings on a disk of *disk* bytes, *used* of them taken by others from the start.

    Each writes *save* bytes *every* so many seconds, the first time after that long; they take
    turns, so that no two save in the same moment.
    """
    paths = [f"{PLACE}/run-{n}" for n in range(1, runs + 1)]
    filesystem = Filesystem(PLACE, PLACE, "invented", disk, used, disk - used, 0, 0)
    begun = now.timestamp()
    return World(tuple(map(_run, paths)), (filesystem,)), tuple(
        Course(path, save, every, STEPS, first_at=begun + every * (1 + n / runs))
        for n, path in enumerate(paths)
    )


def _run(path: str) -> Run:
    return Run(path, PLACE, PLACE, "huggingface", 0, 0, 0, (), adopted=True, live=True)
