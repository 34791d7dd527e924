"""Judges every run, then climbs the ladder of relief. Pure: values in, a plan out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ckptd.model import Action, Filesystem, Plan, Relief, Run, RunPlan, World
from ckptd.policy.foresight import Reserve, full_in, growths, reserve
from ckptd.policy.judge import judge_run
from ckptd.policy.ladder import Ladder
from ckptd.policy.pressure import demand
from ckptd.policy.settings import Policies


def plan(world: World, policies: Policies, before: frozenset[str], now: datetime) -> Plan:
    """One verdict for each checkpoint of *world*, and the actions in the order to take them.

    *before* names what was past a mark in the plan before this one (`Plan.relieving`). Without
    demand on its filesystem only what no rule keeps is let go; under demand soft ones follow, by
    rank (`relief.ranked`), until the demand is met.
    """
    needs = tuple(_need(fs, world, policies, before, now) for fs in world.filesystems)
    judged = tuple(
        judge_run(run, policies.of(run.path), now, demand=_urgent(needs, run)) for run in world.runs
    )
    ladder = Ladder(world, judged, policies, now)
    reliefs = tuple(ladder.climb(need) for need in needs)
    steps = ladder.steps()
    taken = {step.path: step for step in steps if step.checkpoint}
    touched = {step.run.path for step in steps if step.run}
    return Plan(
        made_at=now,
        runs=tuple(_settle(r, taken) if r.run.path in touched else r for r in judged),
        actions=steps,
        filesystems=reliefs,
        unreadable=(*world.unreadable, *world.frozen),
    )


def _need(
    filesystem: Filesystem, world: World, policies: Policies, before: frozenset[str], now: datetime
) -> Relief:
    """The demand on one filesystem, and when it would be full if nothing were let go."""
    runs = [run for run in world.runs if filesystem.bounds(run.path, run.filesystem)]
    marks = policies.marks_of(filesystem)
    wanted = reserve(filesystem, runs, now)
    if marks.reserve is not None:
        wanted = Reserve(marks.reserve)
    need = demand(filesystem, marks, before=before, reserve=wanted)
    return replace(need, full_in_seconds=full_in(filesystem.free, growths(filesystem, runs, now)))


def _urgent(needs: Sequence[Relief], run: Run) -> bool:
    """Whether the room that *run* stands in is needed before its calm is over."""
    return any(need.urgent and need.filesystem.bounds(run.path, run.filesystem) for need in needs)


def _settle(run_plan: RunPlan, taken: dict[str, Action]) -> RunPlan:
    """The verdicts with what the ladder took of the soft ones."""
    verdicts = tuple(
        replace(verdict, action=step.kind, reasons=step.reasons)
        if (step := taken.get(verdict.checkpoint.path))
        else verdict
        for verdict in run_plan.verdicts
    )
    return replace(run_plan, verdicts=verdicts)
