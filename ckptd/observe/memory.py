"""What one ckptd remembers from its own looks, so that ages do not depend on file times.

A one-shot command begins with an empty memory: then file times and the wall clock must do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from ckptd.model import Findings, Identity, Saved
from ckptd.observe.experiments import DropIns
from ckptd.observe.trainers import Trainers

Key = tuple[str, str]  # run path, checkpoint name
MOST_SAVES: Final = 50  # of a run, the newest


@dataclass(frozen=True, slots=True)
class Sighting:
    """One save as it was seen: `since` and `complete_since` by the monotonic clock, in seconds.

    None for a moment before this ckptd began to look.
    """

    identity: Identity
    findings: Findings
    since: float | None
    complete_since: float | None = None
    complete: bool = False


@dataclass(slots=True)
class Trend:
    """What others than the runs have on a filesystem, at moments of the last `window` seconds.

    The moments lie at least `apart` from each other; less than `least` of them tells no trend.
    """

    window: float
    apart: float
    least: float
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def pace(self, monotonic: float, size: int) -> float:
        """Bytes a second by which it grew, now that it is *size*; 0.0 where it did not.

        One look alone may err: what was unlinked comes free late, an open save grows meanwhile.
        And one jump alone is no pace: somebody copied a model here, and has done.
        """
        if not self.seen or monotonic - self.seen[-1][0] >= self.apart:
            self.seen.append((monotonic, size))
        while monotonic - self.seen[0][0] > self.window:
            self.seen.popleft()
        if len(self.seen) < 3 or self.seen[-1][0] - self.seen[0][0] < self.least:
            return 0.0
        steps = self._steps()
        steps.remove(max(steps, key=lambda step: step[1] / step[0]))
        return max(0.0, sum(grown for _, grown in steps) / sum(took for took, _ in steps))

    def _steps(self) -> list[tuple[float, int]]:
        """From moment to moment: how many seconds, and how many bytes more."""
        *known, (ended, last) = self.seen
        moments = [*known, (ended, min(last, known[-1][1]))]
        return [(then - at, now - size) for (at, size), (then, now) in pairwise(moments)]


@dataclass(slots=True)
class Others:
    """How fast others than the runs fill a filesystem: at this moment, and for a good while."""

    now: Trend = field(default_factory=lambda: Trend(window=60.0, apart=0.2, least=0.4))
    lasting: Trend = field(default_factory=lambda: Trend(window=3600.0, apart=20.0, least=600.0))


@dataclass(frozen=True, slots=True)
class Weighed:
    """What was no save in a watch, in bytes, and how many *strangers* had on its whole disk.

    `at` is when by a monotonic clock, `took` how many seconds weighing it took.
    """

    bytes: int
    strangers: int
    at: float
    took: float


@dataclass(slots=True)
class Memory:
    """Sightings by run and name, which runs had saves at the last look, past saves by run."""

    sightings: dict[Key, Sighting] = field(default_factory=dict)
    runs: dict[str, bool] = field(default_factory=dict)  # path -> born under this watch
    saves: dict[str, tuple[Saved, ...]] = field(default_factory=dict)
    trainers: Trainers = field(default_factory=Trainers)
    drop_ins: DropIns = field(default_factory=DropIns)
    others: dict[str, Others] = field(default_factory=dict)  # by filesystem
    weights: dict[str, Weighed] = field(default_factory=dict)  # by watch
    looked_at: float | None = None  # wall clock of the last look, seconds since 1970

    def quiet(self, key: Key, identity: Identity, monotonic: float) -> float | None:
        """Seconds since *key* was first seen as it is now; None when only file times can tell."""
        seen = self.sightings.get(key)
        if seen is None:
            return 0.0 if self.looked_at is not None else None
        if seen.identity != identity:
            return 0.0
        return None if seen.since is None else monotonic - seen.since

    def add_saves(self, run: str, saves: Iterable[Saved]) -> tuple[Saved, ...]:
        """The last saves of *run* that are known, oldest first, *saves* among them."""
        every = {(s.name, s.saved_at): s for s in (*self.saves.get(run, ()), *saves)}
        ordered = sorted(every.values(), key=lambda save: (save.saved_at, save.name))
        self.saves[run] = tuple(ordered[-MOST_SAVES:])
        return self.saves[run]

    def forget(
        self, kept: Collection[Key], runs: Collection[str], away: tuple[str, ...] = ()
    ) -> None:
        """Drops what is no longer there, so that a run that comes back counts as new.

        Below the paths *away* nobody answers: there everything is as it was, for all we know.
        """
        for gone in self.sightings.keys() - set(kept):
            if not _lies_in(gone[0], away):
                del self.sightings[gone]
        of_runs: tuple[dict[str, Any], ...] = (self.runs, self.saves, self.trainers.known)
        for known in of_runs:
            for path in known.keys() - set(runs):
                if not _lies_in(path, away):
                    del known[path]


def _lies_in(run: str, places: tuple[str, ...]) -> bool:
    return any(f"{run}/".startswith(f"{place.rstrip('/')}/") for place in places)
