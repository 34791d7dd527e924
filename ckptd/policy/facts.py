"""What the holds on a run's checkpoints may look at, worked out once. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ckptd.model import Checkpoint, Divergence, Health, Role, Run, Series
from ckptd.policy.settings import Policy

# Clocks of two machines on one filesystem differ by seconds; a file time further ahead is wrong.
CLOCK_SLACK: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a hold may look at, worked out once for a run.

    `others` are those that are not complete, by their health. `present` are the complete ones that
    may be a reference (none saved in the future), oldest first; `counted` are those of them that
    take a slot of a rule: no diverged one does. `last_healthy` names the last ones before a
    divergence, and says which. `demand` says that space is needed on the run's filesystem.
    """

    run: Run
    policy: Policy
    now: datetime
    demand: bool
    complete: Series
    others: Mapping[Health, Series]
    present: Series
    counted: Series
    newest: Checkpoint | None
    last_healthy: Mapping[str, Divergence]
    resumable: Checkpoint | None
    highest_step: int | None
    victims: frozenset[str]

    @classmethod
    def of(cls, run: Run, policy: Policy, now: datetime, *, demand: bool) -> Facts:
        complete = run.complete
        latest = now + CLOCK_SLACK
        present = tuple([c for c in complete if c.saved_at <= latest])
        series = present or complete
        return cls(
            run,
            policy,
            now,
            demand,
            complete,
            others=_by_health(run.checkpoints),
            present=present,
            counted=tuple([c for c in present if not c.diverged]),
            last_healthy=_last_healthy(complete, series),
            newest=series[-1] if series else None,
            resumable=next((c for c in reversed(series) if _resumable(c)), None),
            highest_step=max([c.step for c in complete if c.step is not None], default=None),
            victims=_victims(complete, run.trainer_limit),
        )

    def ill(self, health: Health) -> Series:
        """Those of this *health*, which is not complete, oldest first."""
        return self.others.get(health, ())

    def without(self, gone: frozenset[str]) -> Facts:
        """These facts once *gone* is gone: the trainer then finds fewer to rotate."""
        left = tuple(c for c in self.complete if c.name not in gone)
        return replace(self, victims=self.victims & _victims(left, self.run.trainer_limit))


def _by_health(checkpoints: Series) -> dict[Health, Series]:
    ill = [c for c in checkpoints if not c.complete]
    return {
        health: tuple(c for c in ill if c.health is health) for health in {c.health for c in ill}
    }


def _last_healthy(complete: Series, present: Series) -> dict[str, Divergence]:
    """The last ones before what the newest or the highest went through, which are both held.

    A log is sparse: between its last finite number and the first that is not lie saves of which
    nothing is known. So the last of these, and the last before them, by time and by step: steps
    may belong to several trainings, and times may be those of a copy.
    """
    healthy = [c for c in present if c.divergence is None]
    if len(healthy) == len(complete):
        return {}
    references = [*present[-1:], *sorted(complete, key=_by_step)[-1:]]
    last: dict[str, Divergence] = {}
    for lost in (c.divergence for c in references if c.divergence):
        finite_at = -1 if lost.finite_at is None else lost.finite_at
        for bound in (lost.since - 1, finite_at):
            before = [c for c in healthy if _by_step(c)[0] <= bound]
            last |= {c.name: lost for c in (*healthy[-1:], *sorted(before, key=_by_step)[-1:])}
    return last


def _by_step(checkpoint: Checkpoint) -> tuple[int, datetime, int, str]:
    step = -1 if checkpoint.step is None else checkpoint.step
    return (step, *checkpoint.order)


def _victims(complete: Series, limit: int | None) -> frozenset[str]:
    """What the trainer's next save makes it rotate away."""
    beyond = 0 if limit is None else max(0, len(complete) + 1 - limit)
    return frozenset(c.name for c in complete[:beyond])


def _resumable(checkpoint: Checkpoint) -> bool:
    """Whether it has an optimizer's state; a scheduler alone resumes nothing."""
    files = (file for p in checkpoint.parts if p.role is Role.OPTIMIZER for file in p.files)
    return any("optim" in file for file in files)


def in_future(checkpoint: Checkpoint, now: datetime) -> bool:
    """Whether its file times lie ahead of the clock by more than two clocks may differ."""
    return checkpoint.saved_at > now + CLOCK_SLACK
