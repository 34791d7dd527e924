"""What going back would cost with the checkpoints that are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from ckptd.model import Run
from ckptd.policy.relief import replay_seconds
from ckptd.policy.rhythm import rhythm


@dataclass(frozen=True, slots=True)
class Replay:
    """Seconds of training that going back to a moment costs, with every moment as likely.

    `mean` over all moments up to the newest save; `most` at the worst one.
    """

    mean: float = 0.0
    most: float = 0.0


def replay_of(runs: Iterable[Run]) -> Replay:
    """Going back to a moment of one of *runs* trains once more what lies after the save before."""
    gaps = [gap for run in runs for gap in _gaps(run) if isfinite(gap)]
    if not sum(gaps):
        return Replay()
    return Replay(sum(gap * gap for gap in gaps) / 2 / sum(gaps), max(gaps))


def _gaps(run: Run) -> Iterable[float]:
    pace = rhythm(run.saves)
    for earlier, later in pairwise((None, *run.complete)):
        if later is not None:
            yield replay_seconds(earlier, later, pace)
