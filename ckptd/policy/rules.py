"""Rules keep, and say why. Each counts on its own; the planner takes their union.

A rule sees only complete checkpoints of one run, oldest first, none of them from the future, and
answers for every one of them: kept or not, with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ckptd.model import BestMetric, Checkpoint, Reason, Run, Series
from ckptd.units import show_text

Reasons = Mapping[str, Reason]


class Rule(Protocol):
    """A frozen value; `name` is its key in the TOML."""

    @property
    def name(self) -> str: ...

    def judge(self, complete: Series, run: Run) -> Reasons:
        """A reason for each checkpoint of *complete*, by its name."""


@dataclass(frozen=True, slots=True)
class KeepLast:
    """Keeps the newest *count* complete checkpoints; None keeps all."""

    count: int | None

    name = "keep_last"

    def __post_init__(self) -> None:
        _positive(self.name, self.count)

    def judge(self, complete: Series, run: Run) -> Reasons:
        del run
        return {c.name: self._reason(rank) for rank, c in enumerate(reversed(complete), start=1)}

    def _reason(self, rank: int) -> Reason:
        if self.count is None:
            return Reason(self.name, True, f"{_place(rank)}newest; keep_last is unlimited", rank)
        text = f"{_place(rank)}newest; keep_last is {self.count}"
        return Reason(self.name, rank <= self.count, text, rank, self.count)


@dataclass(frozen=True, slots=True)
class KeepBest:
    """Keeps the *count* best by a metric recorded at the checkpoint's own step.

    Without *metric* it ranks as the trainer does, else by the lowest eval_loss. Of equals the
    earlier step is better, as trainers have it. A named metric that no checkpoint of the run
    records keeps them all: a misspelt name must not cost the best one.
    """

    count: int
    metric: str | None = None
    mode: Literal["min", "max"] | None = None

    name = "keep_best"

    def __post_init__(self) -> None:
        _positive(self.name, self.count)

    def judge(self, complete: Series, run: Run) -> Reasons:
        by = self._by(run)
        values = {c.name: c.metrics.get(by.metric, math.nan) for c in complete}
        ranked = [c for c in complete if math.isfinite(values[c.name])]
        if self.metric and not ranked:
            metric = show_text(by.metric)
            text = f"no checkpoint of this run records {metric}, so keep_best keeps them all"
            return {c.name: Reason(self.name, True, text, limit=self.count) for c in complete}
        sign = 1 if by.mode == "min" else -1
        ranked.sort(key=lambda c: (sign * values[c.name], c.order))
        rank = {c.name: place for place, c in enumerate(ranked, start=1)}
        return {c.name: self._reason(by, values[c.name], rank.get(c.name)) for c in complete}

    def _by(self, run: Run) -> BestMetric:
        trainers = run.best_metric
        if self.metric is None:
            return trainers or BestMetric("eval_loss", self.mode or "min")
        if trainers is not None and trainers.metric == self.metric:
            return BestMetric(self.metric, self.mode or trainers.mode)
        return BestMetric(self.metric, self.mode or "min")

    def _reason(self, by: BestMetric, value: float, rank: int | None) -> Reason:
        metric = show_text(by.metric)
        if rank is None:
            text = f"no {metric} recorded at its step; keep_best ranks by it"
            return Reason(self.name, False, text, limit=self.count)
        better = "lower" if by.mode == "min" else "higher"
        text = f"{_place(rank)}best by {metric} ({value:.6g}, {better} is better)"
        keeps = rank <= self.count
        return Reason(self.name, keeps, f"{text}; keep_best is {self.count}", rank, self.count)


@dataclass(frozen=True, slots=True)
class KeepEverySteps:
    """Keeps the first save at or past each multiple of *steps* (from one multiple on)."""

    steps: int

    name = "keep_every_steps"

    def __post_init__(self) -> None:
        _positive(self.name, self.steps)

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


def _positive(name: str, count: int | None) -> None:
    if count is not None and count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")


def _place(rank: int) -> str:
    """`` for the first, `2nd `, `3rd `, `4th ` ... in front of a superlative."""
    if rank == 1:
        return ""
    teens = 10 <= rank % 100 <= 20
    suffix = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{suffix} "
