"""How the runs of a world go on: as they did so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ckptd.model import Checkpoint, Health, Identity, Run, World, moment
from ckptd.policy.foresight import is_under_way
from ckptd.policy.rhythm import rhythm


@dataclass(frozen=True, slots=True)
class Course:
    """The saves that are to come of the run *path*: *bytes* each, one *every* so many seconds.

    `steps` lie between two; None where no steps are known. `first_at` is in seconds since 1970.
    """

    path: str
    bytes: int
    every: float
    steps: int | None
    first_at: float


def courses(world: World, now: datetime) -> tuple[Course, ...]:
    """How the runs that are under way go on; where none is, how all would that have a rhythm."""
    at = now.timestamp()
    measured = [(run, rhythm(run.saves)) for run in world.runs]
    under_way = [run.path for run, pace in measured if is_under_way(run, pace, at)]
    return tuple(
        Course(run.path, pace.bytes, pace.seconds, pace.steps, _first_at(run, pace.seconds, at))
        for run, pace in measured
        if pace and pace.seconds and (not under_way or run.path in under_way)
    )


def _first_at(run: Run, every: float, now: float) -> float:
    """When its next save is due; one that is open is done at once, one overdue starts anew."""
    if any(c.health is Health.WRITING for c in run.checkpoints):
        return now
    due = run.saves[-1].saved_at + every
    return due if due >= now else now + every


def next_save(run: Run, course: Course, at: float) -> Checkpoint:
    """The save that comes *at* that moment: as the newest one is, one interval further."""
    newest = next(reversed(run.complete), None)
    known = [c.step for c in run.checkpoints] + [saved.step for saved in run.saves]
    step = max((step for step in known if step is not None), default=0) + (course.steps or 0)
    name = f"checkpoint-{step if course.steps else round(at)}"
    fresh = Checkpoint(
        path=f"{run.path}/{name}",
        name=name,
        identity=Identity(0, 0, name),
        format=run.format,
        step=step if course.steps else None,
        bytes=course.bytes,
        saved_at=moment(round(at * 1e9)),
        health=Health.COMPLETE,
        evidence="simulated",
        uid=run.uid,
        age=0.0,
        weights_whole=True,
    )
    if newest is None:
        return fresh
    return replace(
        fresh,
        parts=newest.parts,
        inodes=newest.inodes,
        recorded_best=newest.recorded_best,
        divergence=newest.divergence,
    )
