"""The loop: wait, observe, plan, execute, tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from ckptd.actions.execute import Hands
from ckptd.actions.lock import Locks
from ckptd.errors import CkptdError
from ckptd.ledger import Ledger, Record
from ckptd.model import Action, Health, Outcome, Plan
from ckptd.notice import Notices, fact, of_checkpoint
from ckptd.observe import Eyes, Look
from ckptd.policy import plan

if TYPE_CHECKING:
    from ckptd.watch import Bell, Interest, Watcher

# Whatever the bell says, everything is looked at this often, in seconds.
TIMER: Final = 60.0
# Where events do not arrive (network filesystems), looks take their place.
POLL: Final = 5.0
# A disk under demand, and a watch that another ckptd acts on, are looked at again this soon.
SOON: Final = 1.0
# What the system refused is tried again after this time.
BACKOFF: Final = 60.0
# A clock that runs a little behind must not spin the loop.
LEAST: Final = 0.02
BORN: Final = "its first checkpoint appeared under this watch"
# One command acts and looks again at most this often; each round lets go of something.
MOST_ROUNDS: Final = 1000

T = TypeVar("T")


@dataclass(slots=True)
class Daemon:
    """Watches until told to stop, or acts once. One object owns all that changes."""

    eyes: Eyes
    ledger: Ledger
    hands: Hands
    locks: Locks
    watcher: Watcher | None = None
    bell: Bell | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    notices: Notices = field(default_factory=Notices)
    before: frozenset[str] = frozenset()
    failures: dict[str, float] = field(default_factory=dict)
    stood_by: bool = False

    def serve(self) -> None:
        """Watches and acts until `stop`. A cycle that fails is told of, and the next looks anew.

        systemd, if it started us, hears after the first look that we are ready.
        """
        import sdnotify

        from ckptd.watch import Bell, Watcher

        notifier = sdnotify.SystemdNotifier()
        self.bell = Bell()
        self.watcher = Watcher(self.bell)
        self.watcher.start()
        try:
            wait = self._guarded(self.cycle, POLL)
            notifier.notify("READY=1")
            while not self.stopping.is_set():
                self.bell.wait(max(wait, LEAST))
                begun = time.monotonic()
                wait = LEAST if self.stopping.is_set() else self._guarded(self.cycle, POLL)
                # However fast saves come, at most half of a processor is ours.
                self.stopping.wait(min(time.monotonic() - begun, SOON))
        finally:
            notifier.notify("STOPPING=1")
            self.watcher.stop()

    def warn_of_wrecks(self) -> None:
        """Tells of saves that are not whole, that resuming would take, and why they stay."""
        for run_plan in self._decide(self.eyes.look(users=True)).runs:
            complete = [c.step or 0 for c in run_plan.run.complete]
            for verdict in run_plan.verdicts:
                wreck = verdict.checkpoint
                if not wreck.complete and (wreck.step or 0) > max(complete, default=-1):
                    text = f"not whole, and resuming would take it; {verdict.reasons[0].text}"
                    self._once(replace(of_checkpoint("refuse", run_plan.run, wreck), reason=text))

    def finish(self, until: float) -> None:
        """A last `settle` after `stop`, which a failure may not turn into a failure of others."""
        self.stopping.clear()
        self._guarded(lambda: self.settle(until), None)

    def stop(self) -> None:
        """Ends `serve` after the act under way."""
        self.stopping.set()
        if self.bell is not None:
            self.bell.ring_all()

    def _guarded(self, work: Callable[[], T], otherwise: T) -> T:
        """What *work* returns; *otherwise* when it fails. The training beside us goes on."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001  the one place that may: whatever is wrong, go on
            kind = "" if isinstance(error, (CkptdError, OSError)) else f"{type(error).__name__}: "
            self._once(fact("unreadable", "", f"{kind}{error}"))
            return otherwise

    def cycle(self) -> float:
        """Looks, and acts where the plan says so. Returns the seconds until the next look."""
        look = self._look()
        decided = self._decide(look)
        if not self._due(decided):
            return self._until_next(look, decided)
        look = self.eyes.look(users=True)
        decided = self._decide(look)
        outcomes = list(self._act(decided))
        return 0.0 if any(outcome.ok for outcome in outcomes) else self._until_next(look, decided)

    def settle(self, until: float) -> tuple[Plan, list[Outcome]]:
        """Acts until nothing more is due, waiting for calm, until the monotonic time *until*.

        Returns the plan that was acted on first (the last one when none was) and every outcome:
        what `apply` and the end of `exec` do.
        """
        outcomes: list[Outcome] = []
        tried: set[str] = set()
        shown = Plan(datetime.now(UTC))
        for _ in range(MOST_ROUNDS):
            look = self._take_in(self.eyes.look(users=True))
            decided = self._decide(look)
            shown = shown if outcomes else decided
            left = tuple(a for a in decided.actions if a.path not in tried)
            came = list(self._act(replace(decided, actions=left)))
            outcomes += came
            tried |= {o.action.path for o in came if not o.ok}
            wait = SOON if not came and self._unfinished(look, left) else 0.0
            if (not came and not wait) or time.monotonic() + wait > until:
                break
            self.stopping.wait(wait)
        return shown, outcomes

    # --- looking -------------------------------------------------------------------------

    def _look(self) -> Look:
        """Adds the watches, then looks, so that nothing falls between the two."""
        look = self.eyes.look(users=False)
        while self.watcher is not None and self.watcher.aim(_targets(look)):
            look = self.eyes.look(users=False)
        return self._take_in(self.eyes.look(users=True) if look.unsure else look)

    def _take_in(self, look: Look) -> Look:
        for run in look.born:
            adopt = partial(self.ledger.adopt, run.path, run.inode, reason=BORN)
            # Born it is, though the ledger has no room for it: a full disk must not stop relief.
            if record := self._guarded(adopt, None):
                self.hands.tell(record)
        for record in self.notices.of_world(look.world):
            self._tell(record)
        for save in self.notices.saves(look.world):
            self.ledger.saw_save(save)
        for alarm in self.ledger.alarms:
            self._once(fact("ledger", "", alarm))
        return look

    def _decide(self, look: Look) -> Plan:
        decided = plan(look.world, self.eyes.settings.policies, self.before, datetime.now(UTC))
        self.before = decided.relieving
        for record in self.notices.of_plan(decided):
            self._tell(record)
        return decided

    # --- acting --------------------------------------------------------------------------

    def _due(self, decided: Plan) -> tuple[Action, ...]:
        """The actions that may be taken now: calm is over, and no other ckptd acts there."""
        if self.eyes.settings.mode == "observe":
            return ()
        return tuple(
            a for a in decided.actions if a.wait <= 0 and not self._failed(a) and self._ours(a)
        )

    def _failed(self, action: Action) -> bool:
        """Whether it was tried a moment ago and did not go: the same again would not either."""
        tried = self.failures.get(action.path)
        return tried is not None and time.monotonic() - tried < BACKOFF

    def _ours(self, action: Action) -> bool:
        """Whether no other ckptd acts there: on a watch of ours, or on the run by another way."""
        run = action.path.rpartition("/")[0]
        for watch in self.eyes.watches_of(run):
            if not self.locks.take(watch, self.eyes.is_run):
                return self._stand_by(watch)
        return self.locks.take_run(run) or self._stand_by(run)

    def _stand_by(self, path: str) -> bool:
        self.stood_by = True
        self._once(fact("refuse", path, "another ckptd acts here; this one stands by"))
        return False

    def _act(self, decided: Plan) -> Iterator[Outcome]:
        for outcome in self.hands.execute(replace(decided, actions=self._due(decided))):
            if outcome.ok or outcome.refused:
                self.failures.pop(outcome.action.path, None)
            else:
                self.failures[outcome.action.path] = time.monotonic()
            yield outcome
            if self.stopping.is_set():
                return

    # --- telling and waiting -------------------------------------------------------------

    def _tell(self, record: Record) -> None:
        self.ledger.note(record)
        self.hands.tell(record)

    def _once(self, record: Record) -> None:
        if self.notices.is_news(record):
            self._tell(record)

    def _unfinished(self, look: Look, actions: tuple[Action, ...]) -> bool:
        """Whether waiting helps: calm will pass, or a save will settle."""
        if self.eyes.settings.mode == "observe":
            return False
        writing = any(c.health is Health.WRITING for r in look.world.runs for c in r.checkpoints)
        return writing or any(action.wait > 0 for action in actions)

    def _events_arrive(self) -> bool:
        """Whether every directory is watched. Where not, looks take the place of events."""
        if self.watcher is None or not self.watcher.alive:
            self._once(fact("unreadable", "", "the watcher has ended; directories are polled"))
            return False
        for path, reason in self.watcher.unwatched.items():
            self._once(fact("unreadable", path, f"not watched ({reason}), so it is polled"))
        return not self.watcher.unwatched

    def _until_next(self, look: Look, decided: Plan) -> float:
        """Seconds until something changes by itself, however silent the bell."""
        waits = [TIMER]
        waits += [action.wait for action in decided.actions if action.wait > 0]
        waits += [SOON for _ in decided.relieving]
        for run in look.world.runs:
            policy = self.eyes.settings.policies.of(run.path)
            if any(c.health is Health.WRITING for c in run.checkpoints):
                waits.append(max(policy.settle, SOON))
        for item in look.world.trash:
            expiry = timedelta(seconds=self.eyes.settings.policies.of(item.run).trash_for)
            left = (item.trashed_at + expiry - decided.made_at).total_seconds()
            if left > 0:  # else it is purged now, or stays for a reason that time does not mend
                waits.append(max(left, SOON))
        if self.stood_by:
            waits.append(SOON)
        if look.polled or not self._events_arrive():
            waits.append(POLL)
        return min(waits)


def _targets(look: Look) -> dict[str, Interest]:
    """What to watch: arrivals in every directory, the end of writing in unfinished saves."""
    from ckptd.watch import Interest

    return {
        **dict.fromkeys(look.directories, Interest.ARRIVALS),
        **dict.fromkeys(look.writing, Interest.WRITING),
    }
