"""The best so many by a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ckptd.model import BestMetric, Reason, Run, Series
from ckptd.policy.rules.base import Reasons, place, positive
from ckptd.units import show_text


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
        positive(self.name, self.count)

    def judge(self, complete: Series, run: Run) -> Reasons:
        by = self._by(run)
        values = {c.name: c.metrics.get(by.metric, math.nan) for c in complete}
        ranked = [c for c in complete if math.isfinite(values[c.name])]
        if self.metric and not ranked:
            metric = show_text(by.metric)
            text = f"no checkpoint of this run records {metric}, so keep_best keeps them all"
            return {c.name: Reason(self.name, True, text, limit=self.count) for c in complete}
        sign = 1 if by.mode == "min" else -1
        ranked.sort(key=lambda c: sign * values[c.name])  # of equals the older one stays first
        reasons = dict.fromkeys(values, self._unranked(by))
        better = "lower" if by.mode == "min" else "higher"
        metric, end = show_text(by.metric), f"{better} is better); keep_best is {self.count}"
        for rank, c in enumerate(ranked, start=1):
            text = f"{place(rank)}best by {metric} ({values[c.name]:.6g}, {end}"
            reasons[c.name] = Reason(self.name, rank <= self.count, text, rank, self.count)
        return reasons

    def _by(self, run: Run) -> BestMetric:
        trainers = run.best_metric
        if self.metric is None:
            return trainers or BestMetric("eval_loss", self.mode or "min")
        if trainers is not None and trainers.metric == self.metric:
            return BestMetric(self.metric, self.mode or trainers.mode)
        return BestMetric(self.metric, self.mode or BestMetric.better_end(self.metric))

    def _unranked(self, by: BestMetric) -> Reason:
        text = f"no {show_text(by.metric)} recorded at its step; keep_best ranks by it"
        return Reason(self.name, False, text, limit=self.count)
