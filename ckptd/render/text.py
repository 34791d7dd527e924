"""What `plan`, `why` and `apply` say to people: what goes and why, at a glance."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Final

from ckptd.model import (
    Action,
    ActionKind,
    Checkpoint,
    Outcome,
    Plan,
    Reason,
    Relief,
    Run,
    RunPlan,
    Standing,
    TrashItem,
    Unreadable,
    Verdict,
)
from ckptd.units import show_bytes, show_duration, show_text

LONGEST_NAME: Final = 32  # longer ones push their own line to the right, not every line
NARROWEST_REASON: Final = 24

# Until when a rule or hold keeps, for those whose own reason does not already say it.
UNTIL: Final[Mapping[str, str]] = {
    "newest": "until a newer save is complete",
    "highest_step": "until a save with a higher step is complete",
    "only_intact": "until another save is complete",
    "recorded_best": "until the trainer records a better one",
    "writing": "until it is complete",
    "unproven": "until it is proven whole or damaged, or a person removes it",
    "save_open": "until that save is complete",
    "in_use": "until that process lets go of it",
    "named": "until that process has ended",
    "pointer": "until the pointer points elsewhere",
    "keep_every_steps": "for as long as the rule is set",
    "no_rule": "until a rule is set, or the disk is too full",
}


def plan_text(plan: Plan, *, width: int) -> str:
    """The whole plan in lines of about *width* characters, runs first, then what they add up to."""
    blocks = [_run(run_plan, width) for run_plan in plan.runs]
    blocks.append(list(_purges(plan.actions)))
    blocks.append([*_sums(plan), *_disks(plan)])
    blocks += [*_lost(plan.unreadable)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


# --- runs --------------------------------------------------------------------------------


def _run(run_plan: RunPlan, width: int) -> list[str]:
    lines = [_heading(run_plan)]
    if not run_plan.run.adopted:
        path = shlex.quote(show_text(run_plan.run.path))
        lines.append(f"  not adopted, so only shown; ckptd adopt {path} puts it under care")
    columns = _Columns(run_plan.verdicts, width)
    for verdict in run_plan.verdicts:
        lines += columns.rows(verdict)
    if run_plan.run.exports:
        names = show_text(", ".join(run_plan.run.exports))
        lines += _beside("  final export beside them, never touched: ", names, width)
    return lines


def _heading(run_plan: RunPlan) -> str:
    run, count = run_plan.run, len(run_plan.verdicts)
    facts = [
        run.format,
        _counted(count, "checkpoint"),
        show_bytes(sum(v.checkpoint.bytes for v in run_plan.verdicts)),
        *(["live"] if run.live else []),
        *(["finished"] if run.finished else []),
        *(["adopted"] if run.adopted else []),
    ]
    return f"{show_text(run.path)}  ({', '.join(facts)})"


class _Columns:
    """The rows of one run: name, size, health if not complete, standing, action, first reason."""

    def __init__(self, verdicts: Sequence[Verdict], width: int) -> None:
        names = [len(show_text(v.checkpoint.name)) for v in verdicts]
        self._name = min(max(names, default=0), LONGEST_NAME)
        self._health = max((len(_health(v.checkpoint)) for v in verdicts), default=0)
        self._action = max((len(v.action) for v in verdicts), default=0)
        self._width = width

    def rows(self, verdict: Verdict) -> list[str]:
        checkpoint = verdict.checkpoint
        cells = [
            "  " if verdict.action is ActionKind.KEEP else "- ",
            f"{show_text(checkpoint.name):<{self._name}}  ",
            f"{show_bytes(checkpoint.bytes):>8}  ",
            f"{_health(checkpoint):<{self._health}}{'  ' if self._health else ''}",
            f"{verdict.standing:<7}  {verdict.action:<{self._action}}  ",
        ]
        return _beside("".join(cells), first_reason(verdict).text, self._width)


def _beside(left: str, text: str, width: int) -> list[str]:
    """*text* wrapped at the right of *left*, or below it where there is no room."""
    indent = len(left) if width - len(left) >= NARROWEST_REASON else 6
    lines = wrap(show_text(text), max(width - indent, NARROWEST_REASON)) or [""]
    if indent == len(left):
        first, *rest = lines
        return [f"{left}{first}".rstrip(), *(" " * indent + line for line in rest)]
    return [left.rstrip(), *(" " * indent + line for line in lines)]


def _health(checkpoint: Checkpoint) -> str:
    return "" if checkpoint.complete else str(checkpoint.health)


def first_reason(verdict: Verdict) -> Reason:
    """The reason that decided: the first that keeps what is kept, or lets go of what goes."""
    keeps = verdict.action is ActionKind.KEEP
    return next((r for r in verdict.reasons if r.keeps is keeps), verdict.reasons[0])


# --- what it adds up to ------------------------------------------------------------------


def _purges(actions: Sequence[Action]) -> Iterator[str]:
    items = [action for action in actions if action.kind is ActionKind.PURGE]
    if items:
        yield "Out of the trash, for good:"
    for action in items:
        why = show_text(action.reasons[0].text)
        yield f"- {show_text(action.path)}  {show_bytes(action.bytes)}  {why}"


def _sums(plan: Plan) -> Iterator[str]:
    if not plan.runs and not plan.actions:
        yield "No checkpoint was found."
        return
    goes = [v for v in plan.verdicts if v.action is not ActionKind.KEEP]
    if not goes:
        yield "Nothing to let go of."
        return
    yield f"To let go of: {_counted(len(goes), 'checkpoint')}, {show_bytes(plan.reclaim_bytes)}."
    steps = [action for action in plan.actions if action.checkpoint]
    if at_once := [action for action in steps if action.purge_now]:
        amount = show_bytes(sum(action.bytes for action in at_once))
        some = "All" if len(at_once) == len(steps) else f"{len(at_once)} of them ({amount})"
        yield f"  {some} at once and for good; the trash would free no space."
    else:
        yield "  They go to the trash first; ckptd restore brings them back from there."
    if wait := max((action.wait for action in steps), default=0.0):
        yield f"  Not within the next {show_duration(wait)}: a save has just been completed there."


def _disks(plan: Plan) -> Iterator[str]:
    for relief in plan.filesystems:
        if relief.demand or relief.state != "ok":
            yield from _disk(relief, [run_plan.run for run_plan in plan.runs])


def _disk(relief: Relief, runs: Sequence[Run]) -> Iterator[str]:
    filesystem = relief.filesystem
    used = f"{show_text(filesystem.path)} is {filesystem.used_percent:.1f} % used"
    yield f"{used} ({relief.state}) and must gain {show_bytes(relief.demand)}."
    if not relief.shortfall:
        return
    yield f"  Short by {show_bytes(relief.shortfall)}: nothing more may be let go of there."
    others = [r for r in runs if r.filesystem == filesystem.path and not r.adopted]
    if others:
        held = show_bytes(sum(c.bytes for run in others for c in run.checkpoints))
        yield f"  {held} in {_counted(len(others), 'run')} not adopted; see ckptd adopt."


def _lost(unreadable: Sequence[Unreadable]) -> Iterator[list[str]]:
    headings = {
        False: "Could not be seen, so nothing is concluded there:",
        True: "Named like checkpoints without being any, so left alone:",
    }
    for passed_over, heading in headings.items():
        lost = [each for each in unreadable if each.passed_over is passed_over]
        if lost:
            yield [heading, *(f"  {show_text(e.path)}: {show_text(e.error)}" for e in lost)]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# --- one checkpoint ----------------------------------------------------------------------


def verdict_text(verdict: Verdict, run_plan: RunPlan) -> str:
    """Everything about one checkpoint of a run: facts, all reasons, and when it would go."""
    checkpoint = verdict.checkpoint
    step = "" if checkpoint.step is None else f"step {checkpoint.step}, "
    facts = f"{step}{show_bytes(checkpoint.bytes)}, saved {_when(checkpoint.saved_at)}"
    lines = [
        show_text(checkpoint.path),
        f"  {facts}",
        f"  {checkpoint.health}: {show_text(checkpoint.evidence)}",
        f"  {verdict.standing}, so {verdict.action}:",
        *(
            f"    {_sign(reason)} {reason.rule}: {show_text(reason.text)}"
            for reason in verdict.reasons
        ),
        *(f"  {line}" for line in _when_it_goes(verdict, run_plan.run)),
    ]
    return "\n".join(lines)


def _sign(reason: Reason) -> str:
    return "+" if reason.keeps else "-"


def _when_it_goes(verdict: Verdict, run: Run) -> Iterator[str]:
    if verdict.action is not ActionKind.KEEP:
        calm = f", once {show_duration(run.calm)} of calm have passed" if run.calm else ""
        yield f"It goes with the next apply or watch{calm}."
        return
    keepers = [reason for reason in verdict.reasons if reason.keeps]
    terms = [f"{reason.rule} keeps it {term}" for reason in keepers if (term := _until(reason))]
    yield f"It stays: {'; '.join(terms)}." if terms else "It stays until no reason above keeps it."
    if verdict.standing is Standing.SOFT:
        yield "When the disk is too full it may go earlier: nothing keeps it under pressure."


def _until(reason: Reason) -> str | None:
    if reason.limit is None and reason.rule == "keep_last":
        return "while there is room"
    if reason.rank is None or reason.limit is None:
        return UNTIL.get(reason.rule)
    left = reason.limit - reason.rank + 1
    what = {"keep_last": "newer", "keep_best": "better"}.get(reason.rule, "further")
    verb = "is" if left == 1 else "are"
    return f"until {_counted(left, f'{what} complete checkpoint')} {verb} there"


def trash_text(item: TrashItem) -> str:
    """Where a checkpoint in the trash came from, why it went, and how it comes back."""
    why = f": {show_text(item.reason)}" if item.reason else ""
    return "\n".join(
        [
            f"{show_text(item.path)} is in the trash since {_when(item.trashed_at)}",
            f"  {item.action}{why}",
            f"  {show_bytes(item.bytes)}; ckptd restore {show_text(item.id)} brings it back",
        ]
    )


def outcome_text(outcome: Outcome) -> str:
    """One line: what was done, or why not."""
    action = outcome.action
    what = f"{action.kind} {show_text(action.path)}"
    if not outcome.ok:
        word = "refused" if outcome.refused else "failed"
        return f"{word}: {what}: {show_text(outcome.error or 'no reason was given')}"
    if outcome.freed_bytes:
        return f"done: {what}: {show_bytes(outcome.freed_bytes)} freed"
    if action.kind in (ActionKind.EVICT, ActionKind.SET_ASIDE) and outcome.id:
        return f"done: {what}: in the trash; ckptd restore {show_text(outcome.id)} brings it back"
    return f"done: {what}"


def _when(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds") + " UTC"
