"""The loop: wait, observe, plan, execute, tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from ckptd import mounts, procs
from ckptd.actions import refuge
from ckptd.actions.execute import Hands
from ckptd.actions.lock import Locks
from ckptd.daemon.outside import Outside
from ckptd.daemon.rhythm import POLL, SOON, until_next
from ckptd.daemon.vigil import Vigil
from ckptd.errors import CkptdError, StoppedError, UnansweredError
from ckptd.ledger import Ledger, Record
from ckptd.model import Action, Health, Outcome, Plan
from ckptd.mounts import asked, asked_around
from ckptd.notice import Notices, fact, of_checkpoint
from ckptd.observe import Eyes, Look
from ckptd.policy import plan
from ckptd.units import DAY

if TYPE_CHECKING:
    from ckptd.daemon.reload import Reload
    from ckptd.watch import Bell, Watcher

# What the system refused is tried again after this time.
BACKOFF: Final = 60.0
# And a ledger that could not be written.
MENDED: Final = 10.0
# A clock that runs a little behind must not spin the loop.
LEAST: Final = 0.02
# For so many seconds one plan is acted on, or for so many times what the look took that it came of:
# hundreds of small saves take half a minute, and what is needed changes meanwhile.
AT_MOST: Final = 2.0
WORTH: Final = 2
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
    reload: Reload | None = None
    outside: Outside = field(default_factory=Outside)
    before: frozenset[str] = frozenset()
    vigil: Vigil = field(default_factory=Vigil)
    hurry: bool = False
    failures: dict[str, float] = field(default_factory=dict)
    stood_by: bool = False
    pruned: float = field(default_factory=time.monotonic)

    def serve(self) -> None:
        """Watches and acts until `stop`. A cycle that fails is told of, and the next looks anew.

        systemd, if it started us, hears after the first look that we are ready.
        """
        from ckptd.watch import Bell, Watcher

        procs.give_way()
        self.outside.serve()
        self.bell = Bell()
        self.watcher = Watcher(self.bell)
        self.watcher.start()
        self.eyes.beat = self._beat
        mounts.on_answer(self.bell.ring_all)
        try:
            wait = self._guarded(self.cycle, POLL)
            self.outside.ready()
            while not self.stopping.is_set():
                self._wait(max(wait, LEAST))
                begun = time.monotonic()
                wait = LEAST if self.stopping.is_set() else self._guarded(self.cycle, POLL)
                # However fast saves come, at most half of a processor is ours; room goes first.
                pause = LEAST if self.hurry else time.monotonic() - begun
                self.stopping.wait(min(pause, SOON))
        finally:
            mounts.on_answer(lambda: None)
            self.outside.stopping()
            self.watcher.stop()

    def warn_of_wrecks(self) -> None:
        """Tells of saves that are not whole, that resuming would take, and why they stay."""
        for run_plan in self._decide(self.eyes.look(users=True)).runs:
            complete = [c.step or 0 for c in run_plan.run.complete]
            for verdict in run_plan.verdicts:
                wreck = verdict.checkpoint
                if not wreck.complete and (wreck.step or 0) > max(complete, default=-1):
                    text = f"not whole, and resuming would take it; {verdict.reasons[0].text}"
                    told = of_checkpoint("refuse", run_plan.run, wreck)
                    self._once(replace(told, reason=text, outcome="failed"))

    def finish(self, until: float) -> None:
        """A last `settle` after `stop`, which a failure may not turn into a failure of others."""
        self.stopping.clear()
        self.eyes.beat = _no_beat
        self._guarded(lambda: self.settle(until), None)

    def stop(self) -> None:
        """Ends `serve` after the act under way."""
        self.stopping.set()
        if self.bell is not None:
            self.bell.ring_all()

    def reconfigure(self) -> None:
        """From any thread: the configuration is read again, changed or not.

        A look under way may take long; systemd hears at once, so that it waits for the end.
        """
        if self.reload is not None:
            self.outside.reloading()
            self.reload.ask()
        if self.bell is not None:
            self.bell.ring_all()

    def _wait(self, seconds: float) -> None:
        """Until the bell rings, a disk gets short, or *seconds* are over.

        systemd hears meanwhile that we live.
        """
        until = time.monotonic() + seconds
        while bell := self.bell:
            self._alive()
            left = until - time.monotonic()
            turn = min(self.outside.interval, self.vigil.interval)
            if bell.wait(min(left, turn)) or left <= turn or self._guarded(self._is_short, True):
                return

    def _is_short(self) -> bool:
        return self.vigil.is_broken(self._beat)

    def _guarded(self, work: Callable[[], T], otherwise: T) -> T:
        """What *work* returns; *otherwise* when it fails. The training beside us goes on."""
        try:
            return work()
        except StoppedError:
            return otherwise
        except Exception as error:  # noqa: BLE001  the one place that may: whatever is wrong, go on
            kind = "" if isinstance(error, (CkptdError, OSError)) else f"{type(error).__name__}: "
            self._once(fact("unreadable", "", f"{kind}{error}"))
            return otherwise

    def _beat(self) -> None:
        """Between two steps of whatever is under way. Raises StoppedError once asked to end."""
        if self.stopping.is_set():
            raise StoppedError
        self._alive()

    def _alive(self) -> None:
        if self.watcher and not self.watcher.ended:
            self.outside.alive()

    def cycle(self) -> float:
        """Looks, and acts where the plan says so. Returns the seconds until the next look."""
        self._obey()
        mounts.collect()
        self.stood_by = False
        self._prune()
        begun = time.monotonic()
        look = self._look()
        decided = self._decide(look)
        self._show(look, decided)
        if not (due := self._due(decided)):
            return self._until_next(look, decided)
        # Every act looks again at its run, and asks who uses it. Where room is short that must do.
        within = max(AT_MOST, WORTH * (time.monotonic() - begun))
        urgent = any(a.urgent for a in due)
        outcomes = list(self._act(decided, within=within)) if urgent else []
        if not outcomes or not all(outcome.ok for outcome in outcomes):
            look = self.eyes.look(users=True)
            decided = self._decide(look)
            outcomes += self._act(decided, within=within)
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

    # --- obeying -------------------------------------------------------------------------

    def _obey(self) -> None:
        """Takes a changed configuration over before anything is looked at by it."""
        if self.reload is None or not self.reload.due():
            return
        self.outside.reloading()
        settings, records = self.reload.take()
        if settings is not None:
            self.eyes.settings = settings
            self.locks.release()  # of watches that may be no longer ours
        for record in records:
            self._tell(record)
        self.outside.reloaded(settings)

    def _prune(self) -> None:
        """Once a day the ledger forgets what nobody asks for; at each start it did so as well."""
        if time.monotonic() - self.pruned >= DAY:
            self.pruned = time.monotonic()
            self.ledger.prune(time.time())

    # --- looking -------------------------------------------------------------------------

    def _look(self) -> Look:
        """Adds the watches, then looks, so that nothing falls between the two."""
        look = self.eyes.look(users=False)
        while self.watcher is not None and self._aim(self.watcher, look):
            look = self.eyes.look(users=False)
        return self._take_in(self.eyes.look(users=True) if look.unsure else look)

    def _aim(self, watcher: Watcher, look: Look) -> bool:
        """Watches what was seen; whether some of it was not watched before."""
        from ckptd.daemon.targets import targets

        wanted = targets(look, self.reload.directories if self.reload else ())
        return bool(asked_around(lambda: watcher.aim(wanted), self.eyes.step))

    def _take_in(self, look: Look) -> Look:
        for run in look.born:
            adopt = partial(self.ledger.adopt, run.path, run.inode, reason=BORN)
            # Born it is, though the ledger has no room for it: a full disk must not stop relief.
            if record := self._guarded(adopt, None):
                self.hands.tell(record)
        for record in self.notices.of_world(look.world):
            self._tell(record)
            self._alive()
        for save in self.notices.saves(look.world):
            self.ledger.saw_save(save)
            self._alive()  # the ledger's disk may be slow
        self.ledger.mend()
        self._tell_of_the_ledger()
        for alarm in self.ledger.alarms:
            self._once(replace(fact("ledger", "", alarm), outcome="failed"))
        return look

    def _decide(self, look: Look) -> Plan:
        decided = plan(look.world, look.policies, self.before, datetime.now(UTC))
        settled = not self._due(decided)
        if settled:  # what stands in the way is weighed once all that may go has gone
            decided = self.eyes.explain(decided, look.world)
        self.before = decided.relieving
        self.vigil = Vigil.over(decided.filesystems)
        self.hurry = any(need.urgent for need in decided.filesystems)
        for record in self.notices.of_plan(decided, settled=settled):
            self._tell(record)
        for record in self.notices.of_policies(look.policies, decided, acts=self._acts()):
            self._tell(record)
        return decided

    # --- acting --------------------------------------------------------------------------

    def _acts(self) -> bool:
        """Whether anything may be touched at all."""
        return self.eyes.settings.mode != "observe"

    def _due(self, decided: Plan) -> tuple[Action, ...]:
        """The actions that may be taken now: calm is over, and no other ckptd acts there.

        For a breath under demand who acts waits, and does what else there is meanwhile.
        """
        if not self._acts():
            return ()
        ready = (a for a in decided.actions if a.wait <= 0 or a.urgent)
        return tuple(a for a in ready if not self._failed(a) and self._ours(a))

    def _failed(self, action: Action) -> bool:
        """Whether it was tried a moment ago and did not go: the same again would not either."""
        tried = self.failures.get(action.path)
        return tried is not None and time.monotonic() - tried < BACKOFF

    def _ours(self, action: Action) -> bool:
        """Whether no other ckptd acts there: on a watch of ours, or on the run by another way."""
        run = action.path.rpartition("/")[0]
        try:
            taken = asked(run, partial(self._taken, run), self.eyes.step, roams=True)
        except UnansweredError:  # the next look says so
            return False
        return taken is None or self._stand_by(taken)

    def _taken(self, run: str) -> str | None:
        """Where another ckptd acts that *run* lies in; None where nobody else does."""
        for watch in self.eyes.watches_of(run):
            if not self.locks.take(watch, self.eyes.is_run):
                return watch
            refuge.offer(self.ledger, watch, self.eyes.is_run)
        return None if self.locks.take_run(run) else run

    def _stand_by(self, path: str) -> bool:
        self.stood_by = True
        self._once(
            fact("refuse", path, "another ckptd acts here; this one stands by until that has ended")
        )
        return False

    def _act(self, decided: Plan, *, within: float = inf) -> Iterator[Outcome]:
        """The outcomes of what is due, until we are to stop or to obey something else.

        Nothing is begun after *within* seconds.
        """
        until = time.monotonic() + within
        if self.reload is not None and self.reload.noticed:
            return
        for outcome in self.hands.execute(replace(decided, actions=self._due(decided))):
            if outcome.ok:
                self.outside.acted(outcome.action)
            if outcome.ok or outcome.refused:
                self.failures.pop(outcome.action.path, None)
            else:
                self.failures[outcome.action.path] = time.monotonic()
            self._tell_of_the_ledger()
            yield outcome
            obeys = self.reload is not None and self.reload.noticed
            if self.stopping.is_set() or obeys or time.monotonic() > until:
                return

    # --- telling and waiting -------------------------------------------------------------

    def _tell(self, record: Record) -> None:
        self.ledger.note(record)
        self.hands.tell(record)

    def _tell_of_the_ledger(self) -> None:
        if self.ledger.trouble and self._acts():
            for watch in self.eyes.watches():
                refuge.offer(self.ledger, watch.path, self.eyes.is_run)
        for record in self.notices.of_ledger(self.ledger.trouble):
            self._tell(record)

    def _show(self, look: Look, decided: Plan) -> None:
        if trouble := self.outside.show(look, decided):
            self._once(fact("unreadable", "", trouble))
        for record in self.outside.records():
            self._tell(record)

    def _once(self, record: Record) -> None:
        if self.notices.is_news(record):
            self._tell(record)

    def _unfinished(self, look: Look, actions: tuple[Action, ...]) -> bool:
        """Whether waiting helps: calm will pass, a save or a drop-in will settle."""
        if not self._acts():
            return False
        writing = any(c.health is Health.WRITING for r in look.world.runs for c in r.checkpoints)
        return writing or look.settling or any(action.wait > 0 for action in actions)

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
        waits = [until_next(look, decided), self.outside.due]
        if self.stood_by or (self.reload and self.reload.noticed):
            waits.append(SOON)
        if not self._events_arrive():
            waits.append(POLL)
        if self.ledger.trouble:
            waits.append(MENDED)
        return min(waits)


def _no_beat() -> None:
    """For the last acts after `stop`, which nothing cuts short."""
