"""What one ckptd remembers from its own looks, so that ages do not depend on file times.

A one-shot command begins with an empty memory: then file times and the wall clock must do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ckptd.model import Findings, Identity

Key = tuple[str, str]  # run path, checkpoint name


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
class Memory:
    """Sightings by run and name, and which runs had saves at the last look."""

    sightings: dict[Key, Sighting] = field(default_factory=dict)
    runs: dict[str, bool] = field(default_factory=dict)  # path -> born under this watch
    looked_at: float | None = None  # wall clock of the last look, seconds since 1970

    def quiet(self, key: Key, identity: Identity, monotonic: float) -> float | None:
        """Seconds since *key* was first seen as it is now; None when only file times can tell."""
        seen = self.sightings.get(key)
        if seen is None:
            return 0.0 if self.looked_at is not None else None
        if seen.identity != identity:
            return 0.0
        return None if seen.since is None else monotonic - seen.since

    def forget(self, kept: Collection[Key], runs: Collection[str]) -> None:
        """Drops what is no longer there, so that a run that comes back counts as new."""
        for gone in self.sightings.keys() - set(kept):
            del self.sightings[gone]
        for path in self.runs.keys() - set(runs):
            del self.runs[path]
