"""The one verdict on each checkpoint of a run, by standing alone.

Which soft ones go under demand is for the planner to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from ckptd.policy.facts import Facts
from ckptd.policy.holds import holds_of
from ckptd.policy.rules import KeepLast, Reasons, Rule
from ckptd.policy.settings import Policy
from ckptd.policy.size import fit
from ckptd.units import show_text

Said = Mapping[str, tuple[Reason, ...]]  # by the name of a checkpoint

NO_RULE = Reason("no_rule", True, "no rule is set, so nothing is let go while there is room")
RECORDED_BEST = Reason("recorded_best", True, "the trainer's state records it as its best")


def judge_run(run: Run, policy: Policy, now: datetime, *, demand: bool) -> RunPlan:
    """Verdicts on the checkpoints of *run*, in their order."""
    facts = Facts.of(run, policy, now, demand=demand)
    levels = policy.levels(finished=run.finished)
    # Most rules stand at both levels: each is asked once.
    judged = {rule: _reasons_of(rule, facts) for rule in {*levels.rules, *levels.firm}}
    kept = tuple(judged[rule] for rule in levels.rules)
    firm = _keeping(judged[rule] for rule in levels.firm)
    verdicts = _verdicts(facts, kept, firm)
    while facts.victims and (after := facts.without(_evicted(verdicts))).victims != facts.victims:
        facts = after
        verdicts = _verdicts(facts, kept, firm)
    return fit(RunPlan(run, tuple(verdicts[c.name] for c in run.checkpoints)), policy.max_size)


def _verdicts(facts: Facts, kept: Sequence[Reasons], firm: Said) -> dict[str, Verdict]:
    held = holds_of(facts)
    verdicts = {
        c.name: _judge(c, held.get(c.name, ()), _rule_reasons(c, kept), firm.get(c.name, ()))
        for c in facts.run.checkpoints
    }
    while found := _best_of_the_kept(verdicts):
        verdicts |= found
    return verdicts


def _evicted(verdicts: Mapping[str, Verdict]) -> frozenset[str]:
    return frozenset(name for name, v in verdicts.items() if v.action is ActionKind.EVICT)


def _keeping(judged: Iterable[Reasons]) -> Said:
    """The reasons that keep, by the name of the checkpoint."""
    keeping: dict[str, tuple[Reason, ...]] = {}
    for reasons in judged:
        for name, reason in reasons.items():
            if reason.keeps:
                keeping[name] = (*keeping.get(name, ()), reason)
    return keeping


def _reasons_of(rule: Rule, facts: Facts) -> Reasons:
    """What a rule says. A diverged one takes no slot; an unlimited keep_last has none."""
    return rule.judge(facts.present if rule == KeepLast(None) else facts.counted, facts.run)


def _judge(
    checkpoint: Checkpoint,
    holds: tuple[Reason, ...],
    rules: tuple[Reason, ...],
    lasting: tuple[Reason, ...],
) -> Verdict:
    """*lasting* are the reasons for which it stays even under pressure."""
    reasons = rules
    if holds or checkpoint.divergence:
        reasons = (*holds, *_diverged(checkpoint), *rules)
    if holds:
        return Verdict(checkpoint, Standing.HELD, ActionKind.KEEP, reasons)
    if checkpoint.health is Health.BROKEN:
        broken = Reason("broken", False, show_text(checkpoint.evidence))
        return Verdict(checkpoint, Standing.SURPLUS, ActionKind.SET_ASIDE, (broken,))
    if lasting:
        firmer = (_under_pressure(r) for r in lasting if r not in reasons)
        return Verdict(checkpoint, Standing.FIRM, ActionKind.KEEP, (*firmer, *reasons))
    for reason in reasons:
        if reason.keeps:
            return Verdict(checkpoint, Standing.SOFT, ActionKind.KEEP, reasons)
    return Verdict(checkpoint, Standing.SURPLUS, ActionKind.EVICT, reasons)


def _under_pressure(reason: Reason) -> Reason:
    return replace(reason, text=f"{reason.text} under pressure")


def _diverged(checkpoint: Checkpoint) -> tuple[Reason, ...]:
    if not checkpoint.diverged or not checkpoint.complete:
        return ()
    text = f"the training had diverged: {checkpoint.divergence}; it takes no slot of a rule"
    return (Reason("diverged", False, show_text(text)),)


def _rule_reasons(checkpoint: Checkpoint, kept: Sequence[Reasons]) -> tuple[Reason, ...]:
    if not kept:
        return (NO_RULE,) if checkpoint.complete else ()
    name = checkpoint.name
    return tuple([reasons[name] for reasons in kept if name in reasons])


def _best_of_the_kept(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Verdicts that change because a kept checkpoint's state names another as the best.

    Only the kept count: the state of one that is let go cannot be resumed from, and would
    otherwise hold the best of long ago for one round more. By the same reason what a soft one
    names is no firmer than itself: in a training that gets better each save names itself.
    """
    changed: dict[str, Verdict] = {}
    for verdict in verdicts.values():
        if not (name := verdict.checkpoint.recorded_best):
            continue
        best = verdicts.get(name)
        if verdict.action is ActionKind.KEEP and best and _lifts(verdict, best):
            changed[best.checkpoint.name] = replace(
                best,
                standing=_lent(verdict, best),
                action=ActionKind.KEEP,
                reasons=_with_recorded_best(best),
            )
    return changed


def _with_recorded_best(best: Verdict) -> tuple[Reason, ...]:
    """Before the rules; after what holds it already, which may soon let go and says so."""
    others = [reason for reason in best.reasons if reason != RECORDED_BEST]
    if best.standing is Standing.HELD:
        return (*others[:1], RECORDED_BEST, *others[1:])
    return (RECORDED_BEST, *others)


def _lifts(namer: Verdict, best: Verdict) -> bool:
    strength = list(reversed(Standing))  # weakest first
    lent = _lent(namer, best)
    if lent is Standing.HELD and RECORDED_BEST not in best.reasons:
        return True
    return strength.index(lent) > strength.index(best.standing)


def _lent(namer: Verdict, best: Verdict) -> Standing:
    """How firmly *namer* keeps what it names. What is not complete is no relief either way."""
    soft = namer.standing is Standing.SOFT and best.checkpoint.complete
    return Standing.SOFT if soft else Standing.HELD
