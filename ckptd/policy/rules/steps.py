"""One for each multiple of so many steps."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.model import Checkpoint, Reason, Run, Series
from ckptd.policy.rules.base import Reasons, positive


@dataclass(frozen=True, slots=True)
class KeepEverySteps:
    """Keeps the first save at or past each multiple of *steps* (from one multiple on)."""

    steps: int

    name = "keep_every_steps"

    def __post_init__(self) -> None:
        positive(self.name, self.steps)

    def judge(self, complete: Series, run: Run) -> Reasons:
        del run
        first: dict[int, Checkpoint] = {}
        for c in sorted((c for c in complete if c.step is not None), key=_step):
            if _step(c) >= self.steps:
                first.setdefault(_step(c) // self.steps, c)
        milestones = {c.name: multiple * self.steps for multiple, c in first.items()}
        return {c.name: self._reason(c, milestones.get(c.name)) for c in complete}

    def _reason(self, checkpoint: Checkpoint, milestone: int | None) -> Reason:
        if checkpoint.step is None:
            text = "its step is not known; keep_every_steps cannot judge it"
            return Reason(self.name, True, text, limit=self.steps)
        passed = checkpoint.step // self.steps * self.steps
        if milestone is not None:
            text = f"first save at or past step {milestone}"
        elif passed > 0:
            text = f"another save was the first at or past step {passed}"
        else:
            text = "before the first multiple"
        full = f"{text}; keep_every_steps is {self.steps}"
        return Reason(self.name, milestone is not None, full, limit=self.steps)


def _step(checkpoint: Checkpoint) -> int:
    return -1 if checkpoint.step is None else checkpoint.step
