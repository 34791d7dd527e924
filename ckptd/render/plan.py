"""What `plan` and `apply` say to people: what goes and why, at a glance."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from ckptd.model import (
    Action,
    ActionKind,
    Checkpoint,
    Plan,
    Reason,
    Relief,
    Run,
    RunPlan,
    Unreadable,
    Verdict,
)
from ckptd.render.blocks import Block, Column, Row, Tone, lay_out
from ckptd.render.wording import amount, counted, fullness, not_adopted_text
from ckptd.units import show_bytes, show_duration, show_text

COLUMNS: Final = (
    Column(most=34),  # the sign and a name
    Column(right=True, least=8),  # size
    Column(),  # health, where it is not complete
    Column(least=7),  # standing
    Column(),  # action
    Column(),  # the reason that decided
)


def plan_text(plan: Plan, *, width: int) -> str:
    """The whole plan in lines of about *width* characters."""
    return lay_out(plan_blocks(plan), width=width)


def plan_blocks(plan: Plan) -> list[Block]:
    """The whole plan, runs first, then what they add up to."""
    runs = [run_plan.run for run_plan in plan.runs]
    sums = [*_sums(plan), *_disks(plan, runs)]
    strangers = not_adopted_text(runs)
    if strangers and not any(strangers in line for line in sums):
        sums.append(f"{strangers}.")
    blocks = [_run(run_plan) for run_plan in plan.runs]
    blocks += [Block(above=tuple(_purges(plan.actions))), Block(above=tuple(sums))]
    return [*blocks, *lost_blocks(plan.unreadable)]


def first_reason(verdict: Verdict) -> Reason:
    """The reason that decided: the first that keeps what is kept, or lets go of what goes."""
    keeps = verdict.action is ActionKind.KEEP
    return next((r for r in verdict.reasons if r.keeps is keeps), verdict.reasons[0])


# --- runs --------------------------------------------------------------------------------


def _run(run_plan: RunPlan) -> Block:
    run = run_plan.run
    above, below = [], []
    if not run.adopted:
        path = shlex.quote(show_text(run.path))
        above.append(f"  not adopted, so only shown; ckptd adopt {path} puts it under care")
    if run.complete and run.complete[-1].diverged:
        above.append(f"  diverged: {run.complete[-1].divergence}")
    if run_plan.beyond_max_size:
        size = show_bytes(run_plan.beyond_max_size)
        above.append(f"  {size} beyond its max_size: of the rest nothing may be let go")
    if run.exports:
        below.append(f"  final export beside them, never touched: {', '.join(run.exports)}")
    rows = tuple(_row(verdict) for verdict in run_plan.verdicts)
    return Block(_heading(run_plan), tuple(above), COLUMNS, rows, tuple(below))


def _heading(run_plan: RunPlan) -> str:
    run, count = run_plan.run, len(run_plan.verdicts)
    facts = [
        run.format,
        counted(count, "checkpoint"),
        show_bytes(sum(v.checkpoint.bytes for v in run_plan.verdicts)),
        *(["live"] if run.live else []),
        *(["finished"] if run.finished else []),
        *(["adopted"] if run.adopted else []),
    ]
    return f"{run.path}  ({', '.join(facts)})"


def _row(verdict: Verdict) -> Row:
    checkpoint = verdict.checkpoint
    keeps = verdict.action is ActionKind.KEEP
    cells = (
        f"{'  ' if keeps else '- '}{checkpoint.name}",
        show_bytes(checkpoint.bytes),
        "" if checkpoint.complete else str(checkpoint.health),
        str(verdict.standing),
        str(verdict.action),
        first_reason(verdict).text,
    )
    return Row(cells, _tone(checkpoint, keeps=keeps))


def _tone(checkpoint: Checkpoint, *, keeps: bool) -> Tone:
    if not keeps:
        return "goes"
    return "" if checkpoint.complete else "warn"


# --- what it adds up to ------------------------------------------------------------------


def _purges(actions: Sequence[Action]) -> Iterator[str]:
    items = [action for action in actions if action.kind is ActionKind.PURGE]
    if items:
        yield "Out of the trash, for good:"
    for action in items:
        why = action.reasons[0].text
        yield f"- {action.path}  {show_bytes(action.bytes)}  {why}"


def _sums(plan: Plan) -> Iterator[str]:
    if not plan.runs and not plan.actions:
        yield "No checkpoint was found."
        return
    goes = [v for v in plan.verdicts if v.action is not ActionKind.KEEP]
    if not goes:
        yield "Nothing to let go of."
        return
    yield f"To let go of: {counted(len(goes), 'checkpoint')}, {show_bytes(plan.reclaim_bytes)}."
    steps = [action for action in plan.actions if action.checkpoint]
    if at_once := [action for action in steps if action.purge_now]:
        amount = show_bytes(sum(action.bytes for action in at_once))
        some = "All" if len(at_once) == len(steps) else f"{len(at_once)} of them ({amount})"
        yield f"  {some} at once and for good; the trash would free no space."
    else:
        yield "  They go to the trash first; ckptd restore brings them back from there."
    if wait := max((action.wait for action in steps), default=0.0):
        yield f"  Not within the next {show_duration(wait)}: a save has just been completed there."


def _disks(plan: Plan, runs: Sequence[Run]) -> Iterator[str]:
    for relief in plan.filesystems:
        if relief.pressed or relief.state != "ok":
            fs = relief.filesystem
            yield from _disk(relief, [run for run in runs if fs.bounds(run.path, run.filesystem)])


def _disk(relief: Relief, runs: Sequence[Run]) -> Iterator[str]:
    yield f"{relief.filesystem.name} {_need(relief)}."
    missing = amount(relief.shortfall, relief.inodes_shortfall)
    if not missing:
        return
    yield f"  Short by {missing}: of what is left there ckptd may let nothing go."
    full = relief.full_in_seconds if relief.shortfall else None
    when = "it is full" if full is None else f"it is full, at this rate in {show_duration(full)}"
    yield f"  Saves fail once {when}. Free {missing} by hand, or move what can lie elsewhere."
    if relief.in_the_way:
        yield "  The largest things in the way:"
    for each in relief.in_the_way:
        yield f"    {show_bytes(each.bytes):>8}  {each.path}  ({each.what})"
    if strangers := not_adopted_text(runs):
        yield f"  {strangers}."


def _need(relief: Relief) -> str:
    """What is the matter with a disk, and what must come of it."""
    wanted = amount(relief.demand, relief.inodes)
    if relief.state != "ok" or not wanted:
        must = f" and must gain {wanted}" if wanted else ""
        return f"{fullness(relief)} ({relief.state}){must}"
    free = amount(relief.filesystem.free, relief.filesystem.inodes_free if relief.inodes else 0)
    what = "what is written next" if relief.filesystem.writes else "the next saves"
    saves = f"{what} may take {show_bytes(relief.reserve)}"
    if relief.coming < relief.reserve:
        saves += f", of which {show_bytes(relief.coming)} are expected"
    return f"has {free or 'nothing'} free, and {saves}: {wanted} must come free first"


def lost_blocks(unreadable: Sequence[Unreadable]) -> Iterator[Block]:
    """What could not be seen, and what was passed over, each under its heading."""
    headings = {
        False: "Could not be seen, so nothing is concluded there:",
        True: "Named like checkpoints without being any, so left alone:",
    }
    for passed_over, heading in headings.items():
        lost = [each for each in unreadable if each.passed_over is passed_over]
        if lost:
            yield Block(heading, above=tuple(f"  {each.path}: {each.error}" for each in lost))
