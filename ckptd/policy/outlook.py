"""When a checkpoint would go, in a sentence, as far as that is known. Pure.

Its own run's saves are looked ahead (`ahead`); what holds it meanwhile is named with who must let
go of it; what goes for room goes in the order of `relief.ranked`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Final

from ckptd.model import (
    ActionKind,
    Checkpoint,
    Outlook,
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
from ckptd.policy.ahead import Ahead, Turn, look_ahead
from ckptd.policy.awaited import BARS, awaited
from ckptd.policy.foresight import full_in, growths
from ckptd.policy.ladder import Ladder
from ckptd.policy.pressure import gained_at_once
from ckptd.policy.relief import ranked
from ckptd.policy.rules.base import place
from ckptd.policy.settings import Policies, Policy
from ckptd.units import show_duration


def outlook(
    verdict: Verdict, run_plan: RunPlan, plan: Plan, world: World, policies: Policies
) -> Outlook:
    """When the checkpoint of *verdict*, one of those of *run_plan* in *plan* of *world*, would go.

    What is not known is not promised: what people or other processes do has no time.
    """
    if verdict.action is not ActionKind.KEEP:
        return _going(verdict, plan)
    run, policy = run_plan.run, policies.of(run_plan.run.path)
    first = awaited(verdict, run)
    if any(reason.rule in BARS for reason in verdict.reasons):
        return Outlook(None, f"It stays until {' and '.join(first)}.")
    run, policy = _freed(run, verdict.checkpoint, policy)
    ahead = look_ahead(run, verdict.checkpoint.name, policy, plan.made_at)
    if verdict.standing is Standing.SOFT:
        return _sooner(_by_room(verdict, run, plan, world, policies), ahead, run)
    young = max(0.0, policies.of(run.path).min_age - verdict.checkpoint.age)
    after = _by_saves(ahead, run, policy, plan, young) or _lasting(verdict, ahead)
    return _and_then(first, after, ahead) if first else after


def outlook_of_trash(item: TrashItem, plan: Plan, world: World, policies: Policies) -> Outlook:
    """When *item*, in the trash of *world*, is purged."""
    policy = policies.of(item.run)
    if any(step.item and step.item.id == item.id for step in plan.actions):
        return Outlook(0.0, "It is purged with the next apply or watch.")
    if not item.known:
        return Outlook(None, "It stays: no record tells where it came from.")
    if policy.frozen:
        return Outlook(None, "It stays until the drop-in that cannot be obeyed is mended.")
    if not Ladder(world, plan.runs, policies, plan.made_at).may_purge(item):
        return Outlook(None, "It stays until its run has a newer healthy checkpoint.")
    left = policy.trash_for - (plan.made_at - item.trashed_at).total_seconds()
    if not isfinite(left):
        return Outlook(None, "It stays until the disk needs room.")
    text = f"It is purged in {show_duration(left)}, or sooner when the disk needs room."
    return Outlook(left, text)


# --- what goes now -----------------------------------------------------------------------


def _going(verdict: Verdict, plan: Plan) -> Outlook:
    path = verdict.checkpoint.path
    wait = max((a.wait for a in plan.actions if a.checkpoint and a.path == path), default=0.0)
    calm = f", once {show_duration(wait)} of calm have passed" if wait else ""
    return Outlook(wait, f"It goes with the next apply or watch{calm}.")


# --- what must happen first --------------------------------------------------------------


def _freed(run: Run, checkpoint: Checkpoint, policy: Policy) -> tuple[Run, Policy]:
    """*run* and its policy as if all that is awaited had come to pass for *checkpoint*."""
    newest = run.complete[-1].name if run.complete else None
    moved = {
        link: to
        for link, to in run.pointers.items()
        if to != checkpoint.name or checkpoint.name == newest
    }
    free = replace(checkpoint, pinned=False, uses=(), foreign=(), unseen=False)
    checkpoints = tuple(free if c.name == checkpoint.name else c for c in run.checkpoints)
    freed = replace(run, pointers=moved, checkpoints=checkpoints)
    return freed, replace(policy, pin=())


def _and_then(first: Sequence[str], after: Outlook, ahead: Ahead) -> Outlook:
    once = " and ".join(first)
    if ahead.goes and not ahead.goes.saves:
        return Outlook(None, f"It goes once {once}.")
    return Outlook(None, f"It stays until {once}; but for that it {after.text.removeprefix('It ')}")


# --- what its own run's saves do ---------------------------------------------------------

# What ends a reason that further saves do not end by their number.
_LASTING: Final[Mapping[str, str]] = {
    "newest": "until a newer save is complete",
    "highest_step": "until a save with a higher step is complete",
    "only_intact": "until another save is complete",
    "last_healthy": "until a newer healthy save is complete",
    "recorded_best": "until the trainer records a better one",
    "keep_best": "until better ones are saved",
    "keep_every_steps": "for as long as keep_every_steps is set",
}


def _by_saves(ahead: Ahead, run: Run, policy: Policy, plan: Plan, young: float) -> Outlook | None:
    """*young*: it is not old enough for so many seconds."""
    if ahead.goes and not ahead.goes.saves:
        return Outlook(young, f"It goes once it is old enough, in {show_duration(young)}.")
    if ahead.goes:
        known = ahead.goes.seconds is not None
        seconds = max(young, ahead.goes.seconds or 0.0) if known else None
        return Outlook(seconds, f"It goes after {_saves(ahead.goes, ahead, run)}.")
    if ahead.softens and not ahead.softens.saves:
        return Outlook(None, "It stays only while there is room.")
    if ahead.softens:
        turn = _saves(ahead.softens, ahead, run)
        return Outlook(None, f"It stays until after {turn}; then only while there is room.")
    if _goes_at_the_end(run, ahead.last.checkpoint, policy, plan):
        return Outlook(None, "It stays until its run is finished.")
    return None


def _lasting(verdict: Verdict, ahead: Ahead) -> Outlook:
    """Of what stays as far as was looked ahead: what keeps it even then, as it stands now."""
    still = {reason.rule for reason in ahead.last.reasons if reason.keeps}
    keepers = [r for r in verdict.reasons if r.keeps and r.rule in still]
    terms = [_LASTING.get(r.rule) or _while_set(r) for r in keepers or ahead.last.reasons]
    return Outlook(None, f"It stays {' and '.join(dict.fromkeys(terms))}.")


def _while_set(reason: Reason) -> str:
    """Of rules by the calendar what must pass, where that is more than was looked ahead."""
    rule, rank, limit = reason.rule, reason.rank, reason.limit
    if rule in _PERIODS and rank is not None and limit is not None:
        left = limit - rank + 1
        newer = f"{left} newer {_PERIODS[rule]}"
        return f"until {newer} has a save" if left == 1 else f"until {newer}s have saves"
    if rule == "keep_within":
        return f"until the newest was saved {reason.text.rpartition(' is ')[2]} after it"
    return f"for as long as {rule} keeps it"


_PERIODS: Final[Mapping[str, str]] = {
    "keep_hourly": "hour",
    "keep_daily": "day",
    "keep_weekly": "week",
    "keep_monthly": "month",
    "keep_yearly": "year",
}


def _saves(turn: Turn, ahead: Ahead, run: Run) -> str:
    """`2 more saves, in about 40 min`."""
    count = _counted(turn.saves)
    if turn.seconds:
        return f"{count}, in about {show_duration(turn.seconds)}"
    if turn.seconds is not None:
        return f"{count}, which is due"
    if ahead.expected:
        return count
    return f"{count}, but none is expected{': its run is finished' if run.finished else ' now'}"


def _counted(saves: int) -> str:
    return f"{saves} more save{'' if saves == 1 else 's'}"


def _goes_at_the_end(run: Run, checkpoint: Checkpoint, policy: Policy, plan: Plan) -> bool:
    """Whether the rules for finished runs let go of it."""
    if run.finished or policy.finished is None:
        return False
    finished = replace(run, finished=True, live=False)
    ahead = look_ahead(finished, checkpoint.name, policy, plan.made_at)
    return ahead.goes is not None and ahead.goes.saves == 0


# --- what goes for room ------------------------------------------------------------------


def _by_room(verdict: Verdict, run: Run, plan: Plan, world: World, policies: Policies) -> Outlook:
    """Of a soft one: its place among those that would go, and when that is at the earliest."""
    needs = [n for n in plan.filesystems if n.filesystem.bounds(run.path, run.filesystem)]
    found = [each for n in needs if (each := _in_turn(verdict, n, plan, world, policies))]
    if not found:
        why = "letting it go would free next to nothing" if needs else "its disk is not measured"
        return Outlook(None, f"It stays: {why}.")
    return min(found, key=lambda each: (each.seconds is None, each.seconds or 0.0))


def _in_turn(
    verdict: Verdict, need: Relief, plan: Plan, world: World, policies: Policies
) -> Outlook | None:
    filesystem = need.filesystem
    here = [p for p in plan.runs if filesystem.bounds(p.run.path, p.run.filesystem)]
    order = list(ranked(here))
    paths = [candidate.checkpoint.path for candidate in order]
    if verdict.checkpoint.path not in paths:
        return None
    ahead = paths.index(verdict.checkpoint.path)
    trash = (i.bytes for i in world.trash if filesystem.bounds(i.run, i.filesystem))
    first = sum(trash) + sum(c.frees for c in order[:ahead])
    # What comes free at once when a mark is reached, whatever that takes.
    first -= gained_at_once(filesystem, policies.marks_of(filesystem))
    room = max(0, filesystem.free - need.floor) + max(0, first)
    seconds = full_in(room, growths(filesystem, [p.run for p in here], plan.made_at))
    rank = place(ahead + 1).strip() or "1st"
    turn = f"as the {rank} of {len(order)}" if len(order) > 1 else "as the only one"
    what = filesystem.limit or "disk"
    text = f"It goes when the {what} needs room, {turn} that may go; {_rate(seconds)}."
    return Outlook(seconds, text)


def _rate(seconds: float | None) -> str:
    if seconds is None:
        return "nothing is known to fill it"
    return f"at this rate in {show_duration(seconds)} or later" if seconds else "that is now"


def _sooner(by_room: Outlook, ahead: Ahead, run: Run) -> Outlook:
    """For room, or by the rules: whichever comes first."""
    if ahead.goes is None:
        return by_room
    room, by_rules = by_room.seconds, ahead.goes.seconds
    known = [seconds for seconds in (room, by_rules) if seconds is not None]
    if room is None or (by_rules is not None and by_rules <= room):
        text = f"It goes after {_saves(ahead.goes, ahead, run)}, or sooner for room."
    else:
        text = f"{by_room.text.removesuffix('.')}; in any case after {_counted(ahead.goes.saves)}."
    return Outlook(min(known, default=None), text)
