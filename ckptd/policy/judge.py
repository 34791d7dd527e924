"""The one verdict on each checkpoint of a run, by standing alone.

Which soft ones go under demand is for the planner to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ckptd.model import (
    ActionKind,
    Checkpoint,
    Health,
    Reason,
    Run,
    RunPlan,
    Standing,
    Verdict,
)
from ckptd.policy.holds import Facts, holds_on
from ckptd.policy.rules import Reasons, Rule
from ckptd.policy.settings import Policy
from ckptd.units import show_text

NO_RULE = Reason("no_rule", True, "no rule is set, so nothing is let go while there is room")
RECORDED_BEST = Reason("recorded_best", True, "the trainer's state records it as its best")


def judge_run(run: Run, policy: Policy, now: datetime, *, demand: bool) -> RunPlan:
    """Verdicts on the checkpoints of *run*, in their order."""
    facts = Facts.of(run, policy, now, demand=demand)
    kept = _reasons_of(policy.rules, facts)
    firm = _reasons_of(policy.firm, facts)
    while True:
        verdicts = _verdicts(facts, kept, firm)
        gone = frozenset(n for n, v in verdicts.items() if v.action is ActionKind.EVICT)
        after = facts.without(gone)
        if after.victims == facts.victims:
            return RunPlan(run, tuple(verdicts[c.name] for c in run.checkpoints))
        facts = after


def _verdicts(
    facts: Facts, kept: tuple[Reasons, ...], firm: tuple[Reasons, ...]
) -> dict[str, Verdict]:
    verdicts = {c.name: _judge(c, facts, kept, firm) for c in facts.run.checkpoints}
    while found := _best_of_the_kept(verdicts):
        verdicts |= found
    return verdicts


def _reasons_of(rules: tuple[Rule, ...], facts: Facts) -> tuple[Reasons, ...]:
    return tuple(rule.judge(facts.present, facts.run) for rule in rules)


def _judge(
    checkpoint: Checkpoint, facts: Facts, kept: tuple[Reasons, ...], firm: tuple[Reasons, ...]
) -> Verdict:
    holds = tuple(holds_on(checkpoint, facts))
    reasons = (*holds, *_rule_reasons(checkpoint, kept))
    if holds:
        return Verdict(checkpoint, Standing.HELD, ActionKind.KEEP, reasons)
    if checkpoint.health is Health.BROKEN:
        broken = Reason("broken", False, show_text(checkpoint.evidence))
        return Verdict(checkpoint, Standing.SURPLUS, ActionKind.SET_ASIDE, (broken,))
    if lasting := [r for judged in firm if (r := judged[checkpoint.name]).keeps]:
        firmer = (_under_pressure(r) for r in lasting if r not in reasons)
        return Verdict(checkpoint, Standing.FIRM, ActionKind.KEEP, (*firmer, *reasons))
    if any(reason.keeps for reason in reasons):
        return Verdict(checkpoint, Standing.SOFT, ActionKind.KEEP, reasons)
    return Verdict(checkpoint, Standing.SURPLUS, ActionKind.EVICT, reasons)


def _under_pressure(reason: Reason) -> Reason:
    return replace(reason, text=f"{reason.text} under pressure")


def _rule_reasons(checkpoint: Checkpoint, kept: tuple[Reasons, ...]) -> tuple[Reason, ...]:
    if checkpoint.complete and not kept:
        return (NO_RULE,)
    return tuple(judged[checkpoint.name] for judged in kept if checkpoint.name in judged)


def _best_of_the_kept(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Verdicts that change because a kept checkpoint's state names another as the best.

    Only the kept count: the state of one that is let go cannot be resumed from, and would
    otherwise hold the best of long ago for one round more.
    """
    changed: dict[str, Verdict] = {}
    for verdict in verdicts.values():
        best = verdicts.get(verdict.checkpoint.recorded_best or "")
        if verdict.action is ActionKind.KEEP and best and RECORDED_BEST not in best.reasons:
            changed[best.checkpoint.name] = replace(
                best,
                standing=Standing.HELD,
                action=ActionKind.KEEP,
                reasons=(RECORDED_BEST, *best.reasons),
            )
    return changed
