"""What in a look is news: each fact is told once, when it begins."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from ckptd.ledger import Record, Save
from ckptd.model import ActionKind, Checkpoint, Health, Plan, Relief, Run, RunPlan, World
from ckptd.policy import Policies, Policy
from ckptd.policy.size import kept_bytes
from ckptd.render.wording import amount, counted, fullness, not_adopted_text, obstacles_text
from ckptd.units import show_bytes, show_duration, show_text

# What cannot be relieved is an alarm so many seconds before it is full: a day to do something.
FORESEEN: Final = 86_400.0
_OF_WHAT_LACKS: Final = {"shortfall", "spent"}
EVENTS: Final = {"spent": "shortfall"}  # foreseen or there: it is the same alarm
_LETS_GO: Final = {ActionKind.EVICT, ActionKind.SET_ASIDE}


@dataclass(slots=True)
class Notices:
    """Remembers what was told, as far as it still holds; `first` until one look was taken in.

    `lost` are what cannot be read, `away` those of them where nobody answers, `frozen` drop-ins
    that cannot be obeyed, `handed` the saves that were handed out, by path; `terms` the policy of
    each run and whether it is adopted, `strangers` the number of runs that are not; `diverged`
    since which step a run is; `trouble` what is wrong with the ledger.
    """

    health: dict[str, Health] = field(default_factory=dict)
    terms: dict[str, tuple[Policy, bool]] = field(default_factory=dict)
    strangers: int = 0
    diverged: Mapping[str, int] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    away: Collection[str] = frozenset()
    frozen: Mapping[str, str] = field(default_factory=dict)
    handed: dict[str, datetime] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    trouble: str | None = None
    first: bool = True

    def of_world(self, world: World) -> Iterator[Record]:
        """Saves that became complete or broken, and what cannot be read.

        Complete saves that were there before the first look are no news.
        """
        away = {lost.path for lost in world.unreadable if lost.unanswered}
        known, self.health = self.health, {p: h for p, h in self.health.items() if _in(p, away)}
        for run in world.runs:
            for checkpoint in run.checkpoints:
                self.health[checkpoint.path] = checkpoint.health
                if known.get(checkpoint.path) is not checkpoint.health:
                    yield from self._of_health(run, checkpoint)
        yield from self._of_drop_ins({drop_in.path: drop_in.error for drop_in in world.frozen})
        for path in sorted(set(self.away) - away):
            yield fact("watch", path, "it answers again, and is looked after again")
        self.away = away
        before, self.lost = self.lost, frozenset(lost.path for lost in world.unreadable)
        for lost in {lost.path: lost for lost in world.unreadable}.values():
            if lost.path not in before:
                yield fact("unreadable", lost.path, lost.error)
        self.first = False

    def _of_drop_ins(self, frozen: Mapping[str, str]) -> Iterator[Record]:
        before, self.frozen = self.frozen, frozen
        for path, fault in frozen.items():
            if before.get(path) != fault:
                yield fact("frozen", path, fault)
        for path in before.keys() - frozen.keys():
            yield fact("config", path, "it no longer stands in the way; its runs are free again")

    def of_plan(self, plan: Plan, *, settled: bool = True) -> Iterator[Record]:
        """Filesystems past their marks or below them again, without a way out; what diverged.

        *settled*: nothing more is about to be done for them, so what lacks lacks.
        """
        runs = [run_plan.run for run_plan in plan.runs]
        yield from self._of_divergence(plan.runs)
        yield from self._of_strangers(runs)
        for need in plan.filesystems:
            place = need.filesystem
            here = [run for run in runs if place.bounds(run.path, run.filesystem)]
            relieved = f"pressure {place.name}" in self.said and need.state == "ok"
            for event, holds, text in (
                ("pressure", need.state != "ok" and need.pressed, _pressed(need)),
                ("relieved", relieved, f"{place.used_percent:.1f} % used"),
                ("shortfall", bool(need.shortfall or need.inodes_shortfall), _short(need, here)),
                ("spent", not need.shortfall and _is_soon_spent(need), _spent(need, here)),
            ):
                key = f"{event} {place.name}"
                if not holds:
                    self.said.discard(key)
                elif (settled or event not in _OF_WHAT_LACKS) and self._new(key):
                    size = need.shortfall if event == "shortfall" else need.demand
                    yield fact(EVENTS.get(event, event), place.name, text, size=size)

    def _of_divergence(self, run_plans: Sequence[RunPlan]) -> Iterator[Record]:
        """What the newest complete save shows; how a run that is over ended is told by `plan`."""
        before, self.diverged = self.diverged, {}
        for run_plan in run_plans:
            run = run_plan.run
            newest = run.complete[-1] if run.complete and not run.finished else None
            if newest is None or newest.divergence is None or not newest.diverged:
                continue
            since = self.diverged[run.path] = newest.divergence.since
            if before.get(run.path) != since:
                record = of_checkpoint("diverged", run, newest)
                yield replace(record, rule="diverged", reason=_diverged_text(run_plan, newest))

    def _of_strangers(self, runs: Sequence[Run]) -> Iterator[Record]:
        """What is not adopted, when it begins and when the number of such runs changes."""
        strangers = [run for run in runs if not run.adopted]
        if strangers and len(strangers) != self.strangers:
            yield fact("watch", strangers[0].watch, not_adopted_text(strangers))
        self.strangers = len(strangers)

    def of_policies(self, policies: Policies, plan: Plan, *, acts: bool) -> Iterator[Record]:
        """What a changed policy, or an adoption, lets go of in runs that were there before.

        It is said before it goes; *acts*: it will, since the mode is not `observe`.
        """
        before, self.terms = self.terms, {}
        changed: list[RunPlan] = []
        for run_plan in plan.runs:
            run = run_plan.run
            terms = self.terms[run.path] = (policies.of(run.path), run.adopted)
            if before.get(run.path, terms) != terms and run.adopted and not terms[0].frozen:
                changed.append(run_plan)
        if changed:
            gone = [v.checkpoint for p in changed for v in p.verdicts if v.action in _LETS_GO]
            size = sum(checkpoint.bytes for checkpoint in gone)
            cost = f"{counted(len(gone), 'checkpoint')} ({show_bytes(size)})" if gone else "nothing"
            goes = "will go by it" if acts else "would go by it, but the mode is observe"
            text = f"what holds for {counted(len(changed), 'run')} changed: {cost} {goes}"
            yield fact("config", _written_in(changed[0].run), text, size=size)
        for run_plan in plan.runs:
            yield from self._of_max_size(run_plan, policies.of(run_plan.run.path).max_size)

    def _of_max_size(self, run_plan: RunPlan, limit: int | None) -> Iterator[Record]:
        """What a run holds beyond its max_size that may not go."""
        key, held = f"max_size {run_plan.run.path}", kept_bytes(run_plan)
        if limit is None or held <= limit or not run_plan.run.adopted:
            self.said.discard(key)
        elif self._new(key):
            text = (
                f"holds {show_bytes(held)} that may not go; its max_size is {show_bytes(limit)}:"
                " raise it, or let the rules keep less under pressure"
            )
            yield replace(
                fact("shortfall", run_plan.run.path, text, size=held - limit), rule="max_size"
            )

    def of_ledger(self, trouble: str | None) -> Iterator[Record]:
        """That the ledger's disk fails, when that begins, changes and is over."""
        before, self.trouble = self.trouble, trouble
        if trouble and trouble != before:
            yield fact("ledger", "", trouble)
        elif before and not trouble:
            yield fact("ledger", "", "the ledger can be written again; what waited is in it")

    def saves(self, world: World) -> Iterator[Save]:
        """Complete saves that were not handed out before: their sizes and times forecast."""
        before = self.handed
        self.handed = {path: at for path, at in before.items() if _in(path, self.away)}
        for run in world.runs:
            written = {(save.name, save.saved_at): save.bytes for save in run.saves}
            for c in run.complete:
                self.handed[c.path] = c.saved_at
                if before.get(c.path) != c.saved_at:
                    yield Save(
                        run=run.path,
                        name=c.name,
                        step=c.step,
                        bytes=written.get((c.name, c.saved_at.timestamp()), c.bytes),
                        saved_at=c.saved_at.timestamp(),
                    )

    def is_news(self, record: Record) -> bool:
        """Whether this was not told before: the same refusal recurs at every look."""
        subject = f"{record.run} {record.checkpoint}"
        return self._new(f"{record.event} {subject} {record.reason} {record.error}")

    def _of_health(self, run: Run, checkpoint: Checkpoint) -> Iterator[Record]:
        if checkpoint.complete and not self.first:
            yield of_checkpoint("recognised", run, checkpoint)
        elif checkpoint.health is Health.BROKEN:
            yield of_checkpoint("broken", run, checkpoint)

    def _new(self, key: str) -> bool:
        if key in self.said:
            return False
        self.said.add(key)
        return True


def _in(path: str, places: Collection[str]) -> bool:
    return any(path.startswith(f"{place.rstrip('/')}/") for place in places)


def _pressed(need: Relief) -> str:
    return f"it {fullness(need)}; {amount(need.demand, need.inodes)} must come free"


def _short(need: Relief, runs: Sequence[Run]) -> str:
    missing = amount(need.shortfall, need.inodes_shortfall)
    way = obstacles_text(need.in_the_way)
    return "; ".join(
        [
            f"it {fullness(need)}; {missing} more must come free than ckptd may let go",
            f"saves fail once it is full, so free {missing} by hand",
            *([f"in the way: {way}"] if way else []),
            *([stranger] if (stranger := not_adopted_text(runs)) else []),
        ]
    )


def _is_soon_spent(need: Relief) -> bool:
    return need.spent_in_seconds is not None and need.spent_in_seconds < FORESEEN


def _spent(need: Relief, runs: Sequence[Run]) -> str:
    at_rate = f"at this rate full in {show_duration(need.spent_in_seconds or 0.0)}"
    help_ = "free room by hand, or let more go: fewer pins, a smaller [policy.pressure]"
    text = f"{at_rate}, although all that may go will have gone; saves then fail; {help_}"
    stranger = not_adopted_text(runs)
    return f"{text}; {stranger}" if stranger else text


def _diverged_text(run_plan: RunPlan, newest: Checkpoint) -> str:
    """Since when, what is held for it, and the way out."""
    held = [
        verdict.checkpoint
        for verdict in run_plan.verdicts
        if any(reason.rule == "last_healthy" for reason in verdict.reasons)
    ]
    text = f"the training has diverged: {newest.divergence}"
    if not held:
        return show_text(f"{text}; no healthy checkpoint is left, so it must begin anew")
    path = held[-1].path
    return show_text(
        f"{text}; {held[-1].name} is the last healthy checkpoint and is held;"
        f" stop the training and resume from it (resume_from_checkpoint={path})"
    )


def _written_in(run: Run) -> str:
    """The file that has the strongest say over *run*."""
    return next((name for name in reversed(run.policy_from) if name.startswith("/")), "")


def of_checkpoint(event: str, run: Run, checkpoint: Checkpoint) -> Record:
    """A record of *event* about a checkpoint, its evidence the reason."""
    return Record(
        event=event,
        at=time.time(),
        checkpoint=checkpoint.path,
        run=run.path,
        step=checkpoint.step,
        bytes=checkpoint.bytes,
        rule=checkpoint.health.value,
        reason=checkpoint.evidence,
    )


def fact(event: str, path: str, text: str, *, size: int = 0) -> Record:
    """A record of *event* about a path that is no checkpoint; *size* in bytes."""
    return Record(event=event, at=time.time(), run=path, bytes=size, rule=event, reason=text)
