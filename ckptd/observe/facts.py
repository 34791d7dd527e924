"""What several saves of one run say together. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from posixpath import basename, dirname, normpath
from typing import Final, Literal

from ckptd.model import BestMetric, Checkpoint, Entry, Findings, Kind, Tree

# A person's file in a checkpoint appears later than anything its trainer still writes there.
FOREIGN_AFTER: Final = timedelta(minutes=1)
_DIGITS: Final = re.compile(r"\d+")


def best_metric(findings: Iterable[Findings]) -> BestMetric | None:
    """The metric by which the trainer chose its best, found by the value it recorded.

    A state names only the best value; the metric is the one that has this value at that step,
    and its mode the end of the range on which it lies.
    """
    known = list(findings)
    for found in sorted(known, key=lambda f: f.saved_at, reverse=True):
        if found.best is None or found.best.value is None:
            continue
        best = next((f for f in known if f.best and f.step == found.best.step), None)
        if best and (metric := _metric_with(best.metrics, found.best.value)):
            return BestMetric(metric, _mode(metric, found.best.value, known))
    return None


def _metric_with(metrics: Mapping[str, float], value: float) -> str | None:
    names = [name for name, seen in metrics.items() if seen == value]
    return min(names, key=lambda name: (not name.startswith("eval_"), name), default=None)


def _mode(metric: str, best: float, findings: Sequence[Findings]) -> Literal["min", "max"]:
    values = [f.metrics[metric] for f in findings if metric in f.metrics]
    others = [value for value in values if value != best]
    if others:
        return "max" if best > max(others) else "min"
    return "min" if metric.endswith("loss") else "max"


def pointers(children: Sequence[Entry], run: str, names: Iterable[str]) -> dict[str, str]:
    """Links beside the checkpoints that point at one of *names*: link name to checkpoint name."""
    known = set(names)
    found = {}
    for entry in children:
        if entry.kind is Kind.SYMLINK and entry.target is not None:
            target = normpath(f"{run}/{entry.target}" if entry.target[0:1] != "/" else entry.target)
            if dirname(target) == normpath(run) and basename(target) in known:
                found[entry.name] = basename(target)
    return found


def foreign(tree: Tree, findings: Findings, siblings: Sequence[Findings]) -> tuple[str, ...]:
    """Entries of a save that no sibling has and that came later than a minute after it.

    Without a sibling nothing tells a person's file from the trainer's own.
    """
    if not siblings:
        return ()
    usual = {_shape(name) for sibling in siblings for name in sibling.names}
    after = findings.saved_at + FOREIGN_AFTER
    limit = int(after.timestamp() * 1e9)
    return tuple(
        entry.path
        for entry in tree.entries
        if max(entry.mtime_ns, entry.ctime_ns) > limit and _shape(entry.path) not in usual
    )


def _shape(path: str) -> str:
    """A name without its numbers: shards, ranks and steps differ between siblings."""
    return _DIGITS.sub("#", path)


def interval(checkpoints: Sequence[Checkpoint]) -> float | None:
    """Median seconds between complete saves, oldest first; None with fewer than two."""
    times = [c.saved_at for c in checkpoints if c.complete]
    gaps = sorted((b - a).total_seconds() for a, b in pairwise(times))
    return gaps[len(gaps) // 2] if gaps else None
