"""What several saves of one run say together. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from posixpath import basename, dirname, normpath
from typing import Final, Literal

from ckptd.formats.base import WITH_THE_SAVE
from ckptd.model import (
    BestMetric,
    Divergence,
    Entry,
    Findings,
    Kind,
    Role,
    Tree,
    moment,
)

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
    others = [value for value in values if value != best and math.isfinite(value)]
    if others:
        return "max" if best > max(others) else "min"
    return BestMetric.better_end(metric)


def pointers(links: Iterable[Entry], run: str, names: Iterable[str]) -> dict[str, str]:
    """Which of *links* point at or into one of *names* from outside: their paths to that name.

    Paths of the links are relative to *run*; other entries are passed over.
    """
    known = set(names)
    return {
        entry.path: name
        for entry in links
        if entry.kind is Kind.SYMLINK and entry.target
        if (name := _pointed_at(entry.target, normpath(run), dirname(entry.path))) in known
        and not entry.path.startswith(f"{name}/")
    }


def _pointed_at(target: str, run: str, below: str) -> str:
    """The name directly in *run* that a link *below* it leads to or through; empty for none.

    An absolute target may reach the run by another way (a link above it, a bind mount): there
    what follows the run's own name counts.
    """
    path = normpath(target if target.startswith("/") else f"{run}/{below}/{target}")
    if path.startswith(f"{run}/"):
        return path.removeprefix(f"{run}/").partition("/")[0]
    if target.startswith("/"):
        return path.rpartition(f"/{basename(run)}/")[2].partition("/")[0]
    return ""


def foreign(tree: Tree, findings: Findings, siblings: Sequence[Findings]) -> tuple[str, ...]:
    """Entries of a save that no sibling has and that came later than a minute after the rest.

    The rest are files that a sibling has too, and got with its save. Without a sibling they are
    those that the format knows, and then only an entry's own time counts: copying a tree changes
    all others at once.
    """
    latest = max((_came(e, copied=not siblings) for e in tree.entries), default=findings.saved_at)
    earliest = min((moment(e.mtime_ns) for e in tree.files), default=findings.saved_at)
    if latest <= min(earliest, findings.saved_at) + WITH_THE_SAVE:
        return ()  # whatever the siblings have; asking them all for each would cost their square
    usual = {_shape(name) for sibling in siblings for name in sibling.names}
    known = {file for part in findings.parts if part.role is not Role.OTHER for file in part.files}
    strange = [
        entry
        for entry in tree.entries
        if (_shape(entry.path) not in usual if siblings else entry.path not in known)
    ]
    odd = {entry.path for entry in strange}
    times = [entry.mtime_ns for entry in tree.files if entry.path not in odd]
    done = moment(max(times)) if times else findings.saved_at
    return tuple(e.path for e in strange if _came(e, copied=not siblings) > done + WITH_THE_SAVE)


def _came(entry: Entry, *, copied: bool) -> datetime:
    return moment(entry.mtime_ns if copied else max(entry.mtime_ns, entry.ctime_ns))


@lru_cache(maxsize=4096)
def _shape(path: str) -> str:
    """A name without its numbers: shards, ranks and steps differ between siblings."""
    return _DIGITS.sub("#", path)


def divergences(complete: Sequence[Findings]) -> tuple[Divergence | None, ...]:
    """For each complete save of a run, oldest first: how its training had diverged, or may have.

    The newest save of the same training tells what became of what an older one's log ends with;
    where steps go back another training began. Weights that are not finite prove it where an
    earlier save has finite numbers in the same tensor.
    """
    by_log = reversed([*_by_logs(complete)])
    by_weights = _by_weights(complete)
    return tuple(
        _together(logged, sampled) for logged, sampled in zip(by_log, by_weights, strict=True)
    )


def _by_logs(complete: Sequence[Findings]) -> Iterator[Divergence | None]:
    """What the logs say, newest first."""
    later = newest = None
    for found in reversed(complete):
        if later is None or newest is None or _step(found) >= _step(later):
            newest = found
        later = found
        yield _in_hindsight(found.divergence, newest.divergence)


def _in_hindsight(then: Divergence | None, last: Divergence | None) -> Divergence | None:
    """A log goes on where an earlier one ended, so both name the same first step, or it passed."""
    if then is None or last is None or then.since < last.since:
        return None
    return last if then.since == last.since else then


def _by_weights(complete: Sequence[Findings]) -> Iterator[Divergence | None]:
    """What the sampled weights say, oldest first."""
    finite: dict[str, int] = {}  # tensors that were finite, and the last step so
    lost: dict[str, Divergence] = {}  # tensors that were and are not any more
    for found in complete:
        first: Divergence | None = None
        for name, value in found.sampled.items():
            step = _step(found)
            if value is None:
                finite[name] = step
                lost.pop(name, None)
            elif name in finite:
                if name not in lost or lost[name].since > step:
                    lost[name] = Divergence(name, value, step, finite[name])
                first = first or lost[name]
        yield first


def _together(logged: Divergence | None, sampled: Divergence | None) -> Divergence | None:
    """Weights prove it, and a log that suspects it knows better since when."""
    return replace(logged, proven=True) if logged and sampled else logged or sampled


def _step(found: Findings) -> int:
    return -1 if found.step is None else found.step
