"""Carries out a plan one action at a time: look again, intent, act, outcome.

The intent is durable before anything moves, the outcome after it. A refusal is no failure:
the world changed since the plan was made, and nothing was touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from ckptd import disk, trash
from ckptd.actions import trash as acts
from ckptd.actions.recorded import Tell, recorded
from ckptd.errors import ActionError, CkptdError, CrossingError, LedgerError, RefusedError
from ckptd.ledger import Ledger, Record
from ckptd.model import Action, ActionKind, Checkpoint, Outcome, Plan, Relief, Run, Standing
from ckptd.observe import Eyes
from ckptd.policy import judge_run
from ckptd.units import show_bytes

# XFS hands unlinked blocks back in the background; within this time they are there.
SPACE_COMES_WITHIN: Final = 3.0
POLL_EVERY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Hands:
    """Everything that acting needs. `tell` hears each record once it is in the ledger.

    A refusal is told once; the same one recurs at every look.
    """

    eyes: Eyes
    ledger: Ledger
    tell: Tell
    refusals: set[tuple[str, str]] = field(default_factory=set)

    def execute(self, plan: Plan) -> Iterator[Outcome]:
        """The outcome of each action of *plan*, in order.

        Under demand it measures after each purge and stops when the demand is met, since the
        rest may no longer be needed, and also when no space came: something holds it, and
        taking more would free no more.
        """
        demands = {need.filesystem.path: need for need in plan.filesystems if need.demand}
        for action in plan.actions:
            need = demands.get(action.filesystem)
            free = disk.free_bytes(action.filesystem) if need else 0
            outcome = self.carry_out(action)
            yield outcome
            if need and outcome.freed_bytes and not self._go_on(need, free, outcome):
                return

    def _go_on(self, need: Relief, free: int, outcome: Outcome) -> bool:
        goal = need.filesystem.free + need.demand
        # Half is enough to see that space came: others write meanwhile.
        gained = _gained(need.filesystem.path, free, outcome.freed_bytes // 2)
        if gained < outcome.freed_bytes // 2:
            record = _not_come_free(outcome, gained)
            self.ledger.note(record)
            self.tell(record)
            return False
        return free + gained < goal

    def carry_out(self, action: Action) -> Outcome:
        """Does *action* if a new look still says so."""
        if action.kind is ActionKind.PURGE:
            return self._purge(action)
        try:
            run, checkpoint = self._look_again(action)
        except CkptdError as error:
            return self._refused(action, error)
        return self._let_go(action, run, checkpoint)

    # --- looking again -------------------------------------------------------------------

    def _look_again(self, action: Action) -> tuple[Run, Checkpoint]:
        """The run and checkpoint as they are now; RefusedError when the verdict has changed."""
        planned = action.checkpoint
        run = self.eyes.look_at(action.run) if action.run else None
        if run is None or planned is None:
            raise RefusedError("its run is gone or cannot be read")
        if run.calm and not action.pressed:
            raise RefusedError("a save has just been completed in its run")
        policy = self.eyes.settings.policies.of(run.path)
        judged = judge_run(run, policy, datetime.now(UTC), demand=action.pressed)
        verdict = next((v for v in judged.verdicts if v.checkpoint.name == planned.name), None)
        if verdict is None:
            raise RefusedError("it is gone")
        if verdict.checkpoint.identity != planned.identity:
            raise RefusedError("it changed since the plan was made")
        allowed = {Standing.SURPLUS, Standing.SOFT} if action.pressed else {Standing.SURPLUS}
        if verdict.standing not in allowed or (
            verdict.standing is Standing.SURPLUS and verdict.action is not action.kind
        ):
            raise RefusedError(verdict.reasons[0].text)
        return run, verdict.checkpoint

    def _refused(self, action: Action, error: CkptdError) -> Outcome:
        record = _record(action, "refuse", outcome="failed", error=str(error))
        if (action.path, str(error)) not in self.refusals:
            self.refusals.add((action.path, str(error)))
            self.ledger.note(record)
            self.tell(record)
        return Outcome(action, ok=False, error=str(error), refused=isinstance(error, RefusedError))

    # --- acts ----------------------------------------------------------------------------

    def _let_go(self, action: Action, run: Run, checkpoint: Checkpoint) -> Outcome:
        record = _record(action, action.kind.value)
        try:
            place = self._place(run)
        except RefusedError as error:
            if action.purge_now:
                return self._recorded(action, record, lambda: acts.remove(run, checkpoint))
            return self._refused(action, error)
        policy = self.eyes.settings.policies.of(run.path)
        details = {
            "place": place,
            "space_in": 0.0 if action.purge_now else policy.trash_for,
            "saved_at": checkpoint.saved_at.timestamp(),
            "weights_whole": checkpoint.weights_whole,
        }
        record = replace(record, details=details)
        moved = self._recorded(action, record, lambda: _move(action, run, checkpoint, record))
        return self._emptied(moved, place) if moved.ok and action.purge_now else moved

    def _emptied(self, moved: Outcome, place: str) -> Outcome:
        """What was moved into the trash of *place* purged as well: only that frees space."""
        item = trash.find(place, moved.id or "")
        if item is None:
            return moved
        purged = self._purge(replace(moved.action, kind=ActionKind.PURGE, item=item))
        return replace(moved, freed_bytes=purged.freed_bytes, error=purged.error)

    def _place(self, run: Run) -> str:
        return acts.find_place(run.path, run.watch, self.eyes.is_run)

    def _purge(self, action: Action) -> Outcome:
        item = action.item
        if item is None:
            raise ActionError(f"{action.path} is not in the trash")
        record = _record(action, "purge", details={"item": item.id, "place": item.place})
        return self._recorded(action, record, lambda: acts.purge(item))

    def _recorded(self, action: Action, record: Record, act: Callable[[], int]) -> Outcome:
        """The outcome of *act*, which returns the bytes it freed."""
        try:
            freed = recorded(self.ledger, self.tell, record, act)
        except LedgerError as error:
            return self._refused(action, error)
        except (CkptdError, OSError) as error:
            refused = isinstance(error, RefusedError)
            return Outcome(action, ok=False, error=str(error), id=record.id, refused=refused)
        return Outcome(action, ok=True, freed_bytes=freed, id=record.id)


def _record(
    action: Action,
    event: str,
    *,
    outcome: str = "intended",
    error: str | None = None,
    details: dict[str, str] | None = None,
) -> Record:
    subject = action.checkpoint or action.item
    reason = action.reasons[0] if action.reasons else None
    return Record(
        at=time.time(),
        event=event,
        checkpoint=action.path,
        run=subject.path.rpartition("/")[0] if subject else "",
        step=subject.step if subject else None,
        bytes=action.bytes,
        rule=reason.rule if reason else "",
        reason=reason.text if reason else "",
        outcome=outcome,
        error=error,
        details=details or {},
    )


def _move(action: Action, run: Run, checkpoint: Checkpoint, record: Record) -> int:
    """Into the trash, which frees nothing: 0 bytes.

    What may not stay there is unlinked where it lies, if it cannot be moved (an overlay's lower
    layer, another project quota).
    """
    try:
        acts.move_in(
            run,
            checkpoint,
            action.kind,
            id=record.id,
            place=record.details["place"],
            reason=record.reason,
            now=datetime.now(UTC),
        )
    except CrossingError:
        if not action.purge_now:
            raise
        return acts.remove(run, checkpoint)
    return 0


def _not_come_free(outcome: Outcome, gained: int) -> Record:
    missing = show_bytes(outcome.freed_bytes - gained)
    text = f"{missing} were unlinked and did not come free: held open, or written again as fast"
    record = _record(outcome.action, "shortfall", outcome="done")
    return replace(record, reason=text, rule="pressure")


def _gained(filesystem: str, before: int, wanted: int) -> int:
    """Bytes that came free; a moment is waited for *wanted* of them, which may come late."""
    until = time.monotonic() + SPACE_COMES_WITHIN
    while True:
        gained = disk.free_bytes(filesystem) - before
        if gained >= wanted or time.monotonic() >= until:
            return gained
        time.sleep(POLL_EVERY)
