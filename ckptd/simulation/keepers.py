"""Who lets go of checkpoints: nobody, the trainer by a number, or ckptd by a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ckptd.policy import Policies, plan
from ckptd.simulation.stage import Stage

# A look follows every act, as with the daemon; so many end any dispute between two of them.
MOST_LOOKS: Final = 8


class Nobody:
    """All stays; a trainer that rotates by itself goes on to. Also what the others are made of.

    `name` is for people. `short_at` (seconds since 1970) is when more had to go than might. One
    keeper plays once.
    """

    name = "no policy"
    policies = Policies()
    short_at: float | None = None

    def limit(self, trainers: int | None) -> int | None:
        """How many saves the trainer keeps by itself, where *trainers* is what it kept so far."""
        return trainers

    def look(self, stage: Stage) -> None:
        """Lets go of what may go now: after each save, and from time to time."""


class ByTrainer(Nobody):
    """The trainer keeps the newest *limit*, and rotates after each save."""

    def __init__(self, limit: int) -> None:
        self.name = f"save_total_limit {limit}"
        self._limit = limit

    def limit(self, trainers: int | None) -> int | None:
        del trainers
        return self._limit


class ByPolicy(Nobody):
    """ckptd, with its own planner."""

    name = "this policy"

    def __init__(self, policies: Policies, beat: Callable[[], None] = lambda: None) -> None:
        self.policies = policies
        self._before: frozenset[str] = frozenset()
        self._beat = beat

    def look(self, stage: Stage) -> None:
        for _ in range(MOST_LOOKS):
            self._beat()
            decided = plan(stage.world, self.policies, self._before, stage.now)
            self._before = decided.relieving
            if self.short_at is None and any(n.shortfall for n in decided.filesystems):
                self.short_at = stage.at
            if not decided.actions:
                return
            stage.take(decided.actions)
