"""Looks again before anything is touched: is what was planned still so, and still wanted?"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ckptd.errors import CkptdError, OvertakenError, RefusedError, UnreadableError
from ckptd.model import Action, Checkpoint, Run, Standing, Verdict
from ckptd.observe import Eyes
from ckptd.policy import Policy, judge_run
from ckptd.units import show_duration


class BreathingError(Exception):
    """Its run saved this moment, and draws breath for so many *seconds*: others come first."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class Again:
    """A second look at what a plan touches.

    Whoever unlinks one name of a file changes the file, for the kernel; so a sharer of what we let
    go of looks touched. `by_us`: by what such ones were `touched` before our first act, and by now.
    """

    eyes: Eyes
    seen: Run | None = None  # as it was just before the act
    by_us: dict[str, tuple[str, str]] = field(default_factory=dict)  # by path

    def took(self, gone: Checkpoint) -> None:
        """*gone* of the run that was looked at last was let go of, by us.

        Sharers in other runs are left for another plan.
        """
        if not gone.linked or self.seen is None:
            return
        keys = {file.key for file in gone.linked}
        sharers = (c for c in self.seen.checkpoints if keys & {file.key for file in c.linked})
        before = {c.path: c.identity for c in sharers}
        with suppress(CkptdError):
            run, _ = self._see(self.seen) or (self.seen, None)
            for c in run.checkpoints:
                was = before.get(c.path)
                if was == c.identity:
                    first, last = self.by_us.get(c.path, (was.touched, was.touched))
                    if last == was.touched:  # else somebody had a hand on it in between
                        self.by_us[c.path] = (first, c.identity.touched)

    def look(self, action: Action, *, waits: bool = True) -> tuple[Run, Checkpoint, Policy]:
        """What there is now, and the policy on it; RefusedError when the verdict has changed.

        Where its run saved this moment it *waits*, or raises BreathingError.
        """
        run, policy = self._run(action, waits=waits)
        self.seen = run
        verdict = self._verdict(action, run, policy)
        may_go = action.pressed and verdict.standing is Standing.SOFT
        if verdict.action is not action.kind and not may_go:
            raise OvertakenError(f"it stays: {verdict.reasons[0].text}")
        return run, verdict.checkpoint, policy

    def stays(self, action: Action) -> str | None:
        """Why what lies in the trash stays there, by the policy of this moment."""
        if action.item is None:
            return None
        policy = self.eyes.policy_of(action.item)
        spent = (datetime.now(UTC) - action.item.trashed_at).total_seconds()
        if policy.frozen:
            return policy.frozen
        if not action.pressed and spent < policy.trash_for:
            return f"trash_for is {show_duration(policy.trash_for)} by now"
        return None

    def _run(self, action: Action, *, waits: bool) -> tuple[Run, Policy]:
        """Its run, once that is calm, or has drawn breath where there is no time for more."""
        seen = self._see(action.run) if action.run else None
        if seen is None:
            raise OvertakenError("its run is gone or no longer a run, so nothing is left to do")
        run, policy = seen
        if action.urgent and run.breathing:
            if not waits:
                raise BreathingError(run.breathing)
            time.sleep(run.breathing)
            run, policy = self._see(run) or seen
        if run.breathing if action.urgent else run.calm:
            raise OvertakenError(
                "a save of its run was completed a moment ago, so it stays for now"
            )
        return run, policy

    def _see(self, run: Run) -> tuple[Run, Policy] | None:
        """As `Eyes.look_at`; what could be seen for the plan and cannot now has changed."""
        try:
            return self.eyes.look_at(run)
        except UnreadableError as error:
            raise RefusedError(f"{error}, so nothing in it is touched") from error

    def _verdict(self, action: Action, run: Run, policy: Policy) -> Verdict:
        """The verdict of this moment on what *action* is about, which nobody had a hand on."""
        planned = action.checkpoint
        judged = judge_run(run, policy, datetime.now(UTC), demand=action.urgent)
        found = (v for v in judged.verdicts if planned and v.checkpoint.name == planned.name)
        verdict = next(found, None)
        if planned is None or (verdict is None and not os.path.lexists(planned.path)):
            raise OvertakenError(
                "its trainer or a person was first: it is gone, nothing is left to do"
            )
        if verdict is None:
            raise OvertakenError("something else lies in its place by now, which is left alone")
        if not self._is_untouched(planned, verdict.checkpoint):
            raise OvertakenError("it changed since the plan was made, so it stays")
        return verdict

    def _is_untouched(self, planned: Checkpoint, now: Checkpoint) -> bool:
        """Whether nobody but us had a hand on it since."""
        first, last = self.by_us.get(planned.path, ("", ""))
        expected = planned.identity
        if expected.touched == first:
            expected = replace(expected, touched=last)
        return expected.is_untouched(now.identity)
