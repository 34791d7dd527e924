"""Judges every run, then climbs the ladder of relief. Pure: values in, a plan out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ckptd.model import (
    Action,
    ActionKind,
    Checkpoint,
    Plan,
    Reason,
    Relief,
    Run,
    RunPlan,
    Standing,
    TrashItem,
    Verdict,
    World,
)
from ckptd.policy.holds import in_future
from ckptd.policy.judge import judge_run
from ckptd.policy.pressure import demand
from ckptd.policy.settings import Policies
from ckptd.units import show_bytes, show_duration


def plan(world: World, policies: Policies, before: frozenset[str], now: datetime) -> Plan:
    """One verdict for each checkpoint of *world*, and the actions in the order to take them.

    *before* names the filesystems that were under demand in the plan before this one
    (`Plan.relieving`). Without demand on its filesystem only what no rule keeps is let go;
    under demand soft ones follow, oldest first, until the demand is met.
    """
    needs = {
        fs.path: demand(fs, policies.marks_of(fs), relieving=fs.path in before)
        for fs in world.filesystems
    }
    judged = tuple(
        judge_run(run, policies.of(run.path), now, demand=_demanded(needs, run.filesystem))
        for run in world.runs
    )
    places = dict.fromkeys(
        [*needs, *(r.filesystem for r in world.runs), *(i.filesystem for i in world.trash)]
    )
    climbs = [
        _climb(_Ground(place, needs.get(place), world, judged, policies, now)) for place in places
    ]
    taken = {step.path: step for climb in climbs for step in climb.steps if step.checkpoint}
    return Plan(
        made_at=now,
        runs=tuple(_settle(run_plan, taken) for run_plan in judged),
        actions=tuple(step for climb in climbs for step in climb.steps),
        filesystems=tuple(climb.need for climb in climbs if climb.need),
        unreadable=world.unreadable,
    )


def _demanded(needs: dict[str, Relief], place: str) -> bool:
    return place in needs and needs[place].demand > 0


def _settle(run_plan: RunPlan, taken: dict[str, Action]) -> RunPlan:
    """The verdicts with what the ladder took of the soft ones."""
    verdicts = tuple(
        replace(verdict, action=step.kind, reasons=step.reasons)
        if (step := taken.get(verdict.checkpoint.path))
        else verdict
        for verdict in run_plan.verdicts
    )
    return replace(run_plan, verdicts=verdicts)


# --- the ladder of relief ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Climb:
    need: Relief | None
    steps: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the ladder of one filesystem stands on."""

    place: str
    need: Relief | None
    world: World
    judged: Sequence[RunPlan]
    policies: Policies
    now: datetime


def _climb(ground: _Ground) -> _Climb:
    """The actions on one filesystem, cheapest regret first (DESIGN section 3, Ladder).

    What is expired, broken or surplus goes in any case; the rest of the trash and soft ones
    only while the promised bytes do not meet the demand.
    """
    need = ground.need
    wanted = need.demand if need else 0
    promised = 0
    steps: list[Action] = []
    for rung in _rungs(ground):
        if not rung.routine and promised >= wanted:
            continue
        step = rung.step
        if promised < wanted and not rung.must_stay:
            step = replace(step, purge_now=True, pressed=True, wait=0.0)
        promised += _frees(step) if step.purge_now or step.kind is ActionKind.PURGE else 0
        steps.append(step)
    missing = max(0, wanted - promised)
    return _Climb(replace(need, shortfall=missing) if need else None, tuple(steps))


def _frees(step: Action) -> int:
    """Bytes that come free when it is unlinked; hard links elsewhere keep the others."""
    return step.bytes - (step.checkpoint.shared if step.checkpoint else 0)


def _in_vain(checkpoint: Checkpoint) -> bool:
    """Whether letting it go would free next to nothing: a hard-linked copy has its bytes."""
    return checkpoint.shared > 0.95 * checkpoint.bytes


@dataclass(frozen=True, slots=True)
class _Rung:
    """`routine`: taken without demand too. `must_stay`: its bytes may not be unlinked yet."""

    step: Action
    routine: bool
    must_stay: bool = False


def _rungs(ground: _Ground) -> Iterator[_Rung]:
    yield from _rungs_of_trash(ground)
    yield from _rungs_of_runs(ground)


def _rungs_of_trash(ground: _Ground) -> Iterator[_Rung]:
    place, need, world = ground.place, ground.need, ground.world
    policies, now = ground.policies, ground.now
    trash = sorted(
        (i for i in world.trash if i.filesystem == place and _may_purge(i, world, now)),
        key=lambda item: (item.trashed_at, item.id),
    )
    expired = [item for item in trash if _expired(item, policies, now)]
    for item in expired:
        yield _Rung(_purge(item, _overdue(item, policies, now)), routine=True)
    rest = [item for item in trash if item not in expired]
    if need:
        yield from (_Rung(_purge(item, _pressed(need)), routine=False) for item in rest)


def _rungs_of_runs(ground: _Ground) -> Iterator[_Rung]:
    need, policies, now = ground.need, ground.policies, ground.now
    here = [r for r in ground.judged if r.run.filesystem == ground.place]
    for kind in (ActionKind.SET_ASIDE, ActionKind.EVICT):
        for run, verdict in _oldest_first(here, kind):
            stays = kind is ActionKind.SET_ASIDE and _only_weights(verdict, run, now)
            now_gone = policies.of(run.path).trash_for <= 0 and not stays
            step = replace(_let_go(run, verdict, kind), purge_now=now_gone)
            yield _Rung(step, routine=True, must_stay=stays)
    for run, verdict in _oldest_first(here, ActionKind.KEEP):
        if verdict.standing is Standing.SOFT and need and not _in_vain(verdict.checkpoint):
            reason = _pressed(need, "kept only while there is room; ")
            pressed = replace(verdict, reasons=(reason, *verdict.reasons))
            yield _Rung(_let_go(run, pressed, ActionKind.EVICT), routine=False)


def _oldest_first(run_plans: Iterable[RunPlan], kind: ActionKind) -> list[tuple[Run, Verdict]]:
    found = [
        (run_plan.run, verdict)
        for run_plan in run_plans
        for verdict in run_plan.verdicts
        if verdict.action is kind
    ]
    return sorted(found, key=lambda pair: (pair[1].checkpoint.order, pair[0].path))


def _let_go(run: Run, verdict: Verdict, kind: ActionKind) -> Action:
    checkpoint = verdict.checkpoint
    return Action(
        kind,
        checkpoint.path,
        checkpoint.bytes,
        verdict.reasons,
        run.filesystem,
        run=run,
        checkpoint=checkpoint,
        wait=run.calm,
    )


def _purge(item: TrashItem, reason: Reason) -> Action:
    return Action(ActionKind.PURGE, item.path, item.bytes, (reason,), item.filesystem, item=item)


def _pressed(need: Relief, why: str = "") -> Reason:
    used = f"the disk is {need.filesystem.used_percent:.1f} % used"
    return Reason("pressure", False, f"{why}{used} and must gain {show_bytes(need.demand)}")


def _overdue(item: TrashItem, policies: Policies, now: datetime) -> Reason:
    limit = show_duration(policies.of(item.run).trash_for)
    spent = show_duration((now - item.trashed_at).total_seconds())
    return Reason("trash_for", False, f"{spent} in the trash; trash_for is {limit}")


def _expired(item: TrashItem, policies: Policies, now: datetime) -> bool:
    return (now - item.trashed_at).total_seconds() >= policies.of(item.run).trash_for


def _may_purge(item: TrashItem, world: World, now: datetime) -> bool:
    """Not what no record knows, and not the newest save or weights that a run has left."""
    if not item.known:
        return False
    run = next((run for run in world.runs if run.path == item.run), None)
    if item.action is ActionKind.EVICT:
        return run is None or bool(run.complete) or not _is_newest(item, world)
    return not item.weights_whole or (run is not None and _has_newer(run, item.saved_at, now))


def _is_newest(item: TrashItem, world: World) -> bool:
    others = (i for i in world.trash if i.run == item.run and i.action is ActionKind.EVICT)
    return all(item.saved_at >= other.saved_at for other in others)


def _only_weights(verdict: Verdict, run: Run, now: datetime) -> bool:
    broken = verdict.checkpoint
    return broken.weights_whole and not _has_newer(run, broken.saved_at, now)


def _has_newer(run: Run, saved_at: datetime, now: datetime) -> bool:
    """Whether a complete save of *run* came later; one from the future proves nothing."""
    return any(c.saved_at > saved_at and not in_future(c, now) for c in run.complete)
