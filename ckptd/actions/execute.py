"""Carries out a plan one action at a time: look again, intent, act, outcome.

The intent is durable before anything moves, the outcome after it. A refusal is no failure:
the world changed since the plan was made, and nothing was touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from ckptd import trash
from ckptd.actions import removing
from ckptd.actions import trash as acts
from ckptd.actions.again import Again, BreathingError
from ckptd.actions.meter import Meter
from ckptd.actions.planned import check_run
from ckptd.actions.recorded import Tell, recorded
from ckptd.actions.turns import Turns
from ckptd.errors import (
    ActionError,
    CkptdError,
    CrossingError,
    LedgerError,
    NoRoomError,
    RefusedError,
    UnansweredError,
)
from ckptd.ledger import Ledger, Record
from ckptd.model import (
    Action,
    ActionKind,
    Checkpoint,
    Outcome,
    Plan,
    Run,
)
from ckptd.mounts import asked
from ckptd.observe import Eyes
from ckptd.policy import Policy
from ckptd.procs import Keeper
from ckptd.units import show_bytes

# Seconds that an intent may take to be on the disk before everything is looked at again.
PROMPT: Final = 0.1
# Seconds for which nothing more is taken where unlinking freed nothing.
IN_VAIN: Final = 60.0


@dataclass(slots=True)
class Hands:
    """Everything that acting needs. `tell` hears each record once it is in the ledger.

    A refusal is told once; the same one recurs at every look. `vain`: until which monotonic time
    nothing is taken for the sake of a filesystem, since taking freed nothing there.
    """

    eyes: Eyes
    ledger: Ledger
    tell: Tell
    refusals: set[tuple[str, str]] = field(default_factory=set)
    vain: dict[str, float] = field(default_factory=dict)
    again: Again = field(init=False)

    def __post_init__(self) -> None:
        self.again = Again(self.eyes)

    def execute(self, plan: Plan) -> Iterator[Outcome]:
        """The outcome of each action of *plan*, in order.

        Under demand it measures after each purge. Where the demand is met, what only demand asks
        for is left, since it may no longer be needed; for a while also where no space came and
        nobody is seen to keep it: taking more would free no more.
        """
        meters = {
            need.filesystem.name: Meter(need, self.eyes.step)
            for need in plan.filesystems
            if need.pressed
        }
        done: set[str] = set()
        self.again = Again(self.eyes)
        left = Turns(plan.actions)
        while turn := left.next():
            action, waits = turn
            place = action.filesystem
            if action.pressed and (place in done or time.monotonic() < self.vain.get(place, 0.0)):
                continue
            self.eyes.step()
            meter = meters.get(place)
            if meter and not _starts(meter):
                done.add(place)
                continue
            try:
                outcome = self._carry_out(action, waits=waits)
            except BreathingError as breathing:
                left.put_off(action, breathing.seconds)
                continue
            if outcome.ok and action.checkpoint:
                self.again.took(action.checkpoint)
            yield outcome
            if meter and outcome.freed_bytes and not self._goes_on(meter, outcome):
                done.add(place)

    def _goes_on(self, meter: Meter, outcome: Outcome) -> bool:
        try:
            return self._go_on(meter, outcome)
        except UnansweredError:
            return False

    def _go_on(self, meter: Meter, outcome: Outcome) -> bool:
        """Whether the demand is not met yet, and taking more would help."""
        kept_back, keepers = meter.kept_back(outcome.freed_bytes)
        if kept_back > outcome.freed_bytes // 2:
            record = _not_come_free(outcome, kept_back, keepers)
            self.ledger.note(record)
            self.tell(record)
            if not keepers:
                self.vain[meter.need.filesystem.name] = time.monotonic() + IN_VAIN
        return bool(keepers or not kept_back) and not meter.is_met

    def _carry_out(self, action: Action, *, waits: bool) -> Outcome:
        """Does *action* if a new look still says so.

        Unless it *waits*, raises BreathingError where its run has saved this moment.
        """
        try:
            return self._carried_out(action, waits=waits)
        except UnansweredError as error:
            return self._refused(action, error)

    def _carried_out(self, action: Action, *, waits: bool) -> Outcome:
        if action.kind is ActionKind.PURGE:
            reason = self.again.stays(action)
            return self._refused(action, RefusedError(reason)) if reason else self._purge(action)
        try:
            run, checkpoint, policy = self.again.look(action, waits=waits)
        except CkptdError as error:
            return self._refused(action, error)
        return self._let_go(action, run, checkpoint, policy)

    def _refused(self, action: Action, error: CkptdError, *, stuck: bool = False) -> Outcome:
        """*stuck*: time does not mend it, a person must."""
        failed = stuck or not isinstance(error, RefusedError)
        record = _record(action, "refuse", outcome="failed" if failed else "done", error=str(error))
        if (action.path, str(error)) not in self.refusals:
            self.refusals.add((action.path, str(error)))
            self.ledger.note(record)
            self.tell(record)
        return Outcome(action, ok=False, error=str(error), refused=isinstance(error, RefusedError))

    # --- acts ----------------------------------------------------------------------------

    def _let_go(self, action: Action, run: Run, checkpoint: Checkpoint, policy: Policy) -> Outcome:
        record = _record(action, action.kind.value)
        try:
            check_run(run)
        except RefusedError as error:
            return self._refused(action, error)
        try:
            place = self._place(run)
        except RefusedError as error:
            if action.purge_now:
                return self._remove(action, run, checkpoint)
            return self._refused(action, error, stuck=True)
        details = {
            "place": place,
            "space_in": 0.0 if action.purge_now else policy.trash_for,
            "saved_at": checkpoint.saved_at.timestamp(),
            "weights_whole": checkpoint.weights_whole,
        }
        record = replace(record, details=details)
        try:
            act = self._still(action, lambda: _move(action, run, checkpoint, record))
            moved = self._recorded(action, record, act, moving=True)
        except (CrossingError, NoRoomError) as error:
            # An overlay's lower layer, another project quota, a disk too full for a trash: what
            # may not stay there is unlinked in its run, an act of its own in the history.
            if action.purge_now:
                return self._remove(action, run, checkpoint)
            refused = isinstance(error, RefusedError)
            return Outcome(action, ok=False, error=str(error), id=record.id, refused=refused)
        return self._emptied(moved, place) if moved.ok and action.purge_now else moved

    def _remove(self, action: Action, run: Run, checkpoint: Checkpoint) -> Outcome:
        record = _record(action, action.kind.value, details={"content": checkpoint.identity.digest})
        try:
            act = self._still(action, lambda: removing.remove(run, checkpoint, id=record.id))
            return self._recorded(action, record, act)
        except CrossingError as error:
            return Outcome(action, ok=False, error=str(error), id=record.id, refused=True)

    def _still(self, action: Action, act: Callable[[], int]) -> Callable[[], int]:
        """*act*, after another look where the disk was long in taking the intent.

        Who resumes names a save long before opening it, which only a look at all processes shows.
        """
        looked = time.monotonic()

        def still_so() -> int:
            if time.monotonic() - looked > PROMPT:
                self.again.look(action)
            return act()

        return still_so

    def _emptied(self, moved: Outcome, place: str) -> Outcome:
        """What was moved into the trash of *place* purged as well: only that frees space."""
        item = asked(place, lambda: trash.find(place, moved.id or ""), self.eyes.step)
        if item is None:
            return moved
        purged = self._purge(replace(moved.action, kind=ActionKind.PURGE, item=item))
        return replace(moved, freed_bytes=purged.freed_bytes, error=purged.error)

    def _place(self, run: Run) -> str:
        find = partial(acts.find_place, run.path, run.watch, self.eyes.is_run)
        return asked(run.path, find, self.eyes.step)

    def _purge(self, action: Action) -> Outcome:
        item = action.item
        if item is None:
            raise ActionError(f"{action.path} is not in the trash")
        record = _record(action, "purge", details={"item": item.id, "place": item.place})
        return self._recorded(action, record, lambda: acts.purge(item, self.eyes.step))

    def _recorded(
        self, action: Action, record: Record, act: Callable[[], int], *, moving: bool = False
    ) -> Outcome:
        """The outcome of *act*, which returns the bytes it freed.

        Of *moving*, raises what unlinking would get round: CrossingError, NoRoomError.
        """
        try:
            freed = recorded(self.ledger, self.tell, record, act, _place_of(action), self.eyes.step)
        except LedgerError as error:
            return self._refused(action, error)
        except (CkptdError, OSError) as error:
            if moving and isinstance(error, CrossingError | NoRoomError):
                raise
            refused = isinstance(error, RefusedError)
            return Outcome(action, ok=False, error=str(error), id=record.id, refused=refused)
        return Outcome(action, ok=True, freed_bytes=freed, id=record.id)


def _starts(meter: Meter) -> bool:
    """Whether the filesystem of the demand says what is free there."""
    try:
        meter.start()
    except UnansweredError:
        return False
    return True


def _place_of(action: Action) -> str:
    """Where an act touches a filesystem."""
    return action.item.place if action.item else action.path


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
    """Into the trash, which frees nothing: 0 bytes."""
    acts.move_in(
        run,
        checkpoint,
        action.kind,
        id=record.id,
        place=record.details["place"],
        reason=record.reason,
        now=datetime.now(UTC),
        trash_for=record.details["space_in"],
        passing=action.purge_now,
    )
    return 0


def _not_come_free(outcome: Outcome, kept_back: int, keepers: Sequence[Keeper]) -> Record:
    held = (f"{k.who} has {show_bytes(k.bytes)} of deleted files open" for k in keepers[:3])
    why = "; ".join(held) or "a snapshot or another machine may keep them"
    text = f"{show_bytes(kept_back)} were unlinked and do not come free: {why}"
    record = _record(outcome.action, "shortfall", outcome="done")
    return replace(record, reason=text, rule="pressure")
