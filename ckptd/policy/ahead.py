"""What becomes of a checkpoint as its run goes on saving: judged again after each save. Pure.

Nobody knows what will be saved; it is taken to be like the newest there is, at the rhythm seen, and
to be neither better nor healthier than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ckptd.model import ActionKind, Checkpoint, Health, Run, RunPlan, Standing, Verdict
from ckptd.policy.facts import in_future
from ckptd.policy.foresight import is_under_way
from ckptd.policy.judge import judge_run
from ckptd.policy.rhythm import Rhythm, rhythm
from ckptd.policy.rules import KeepLast
from ckptd.policy.settings import Policy

# How many verdicts are worth the answer, about two seconds of them.
MOST_VERDICTS: Final = 40_000
MOST_SAVES: Final = 2_000
# Where no rhythm is known saves follow at once: counts are reached all the same, spans are not.
_AT_ONCE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that comes after so many more `saves`; in `seconds`, None where nobody knows."""

    saves: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """When a checkpoint is kept only while there is room (`softens`), and when by nothing (`goes`).

    None: not within what was looked ahead; then `last` is the verdict on it by then. `expected`
    says that more saves are.
    """

    softens: Turn | None
    goes: Turn | None
    last: Verdict
    expected: bool


def look_ahead(
    run: Run, name: str, policy: Policy, now: datetime, *, most: int = MOST_SAVES
) -> Ahead:
    """What becomes of the checkpoint *name* of *run* within *most* saves, by these alone.

    The trainer is taken to rotate nothing, the disk to have room, and all to be old enough.
    """
    measured = rhythm(run.saves)
    expected = is_under_way(run, measured, now.timestamp())
    run = replace(run, trainer_limit=None, checkpoints=_whole(run))
    policy = replace(policy, min_age=0.0)
    softens: Turn | None = None
    verdicts = 0
    for saves, (run_plan, elapsed) in enumerate(_judged(run, policy, measured, now)):
        verdict = next(v for v in run_plan.verdicts if v.checkpoint.name == name)
        turn = Turn(saves, elapsed if not saves or (expected and _is_timed(measured)) else None)
        if verdict.action is not ActionKind.KEEP:
            return Ahead(softens, turn, verdict, expected)
        soft = verdict.standing is Standing.SOFT
        softens = softens or (turn if soft else None)
        verdicts += len(run_plan.verdicts)
        ends = verdicts > MOST_VERDICTS or saves >= most
        if ends or (soft and _is_endless(run, policy)):
            return Ahead(softens, None, verdict, expected)
    raise AssertionError("unreachable")  # pragma: no cover


def _is_endless(run: Run, policy: Policy) -> bool:
    """Whether no number of saves ever costs one that is soft."""
    rules = policy.levels(finished=run.finished).rules
    return policy.max_size is None and (not rules or KeepLast(None) in rules)


def _is_timed(measured: Rhythm | None) -> bool:
    return measured is not None and bool(measured.seconds)


def _whole(run: Run) -> tuple[Checkpoint, ...]:
    """Without the save that is open: it will be the next."""
    return tuple(c for c in run.checkpoints if c.health is not Health.WRITING)


def _judged(
    run: Run, policy: Policy, measured: Rhythm | None, now: datetime
) -> Iterator[tuple[RunPlan, float]]:
    """The verdicts on *run* now and after each save to come, and the seconds until then."""
    every = (measured.seconds if measured else None) or _AT_ONCE
    due = measured.last_at + every - now.timestamp() if measured else every
    elapsed, saves = 0.0, 0
    while True:
        judged = judge_run(run, policy, now + timedelta(seconds=elapsed), demand=False)
        yield judged, elapsed
        kept = {v.checkpoint.name for v in judged.verdicts if v.action is ActionKind.KEEP}
        run = replace(run, checkpoints=tuple(c for c in run.checkpoints if c.name in kept))
        elapsed, saves = elapsed + (every if saves else max(0.0, due)), saves + 1
        run = _with_one_more(run, measured, now + timedelta(seconds=elapsed), saves)


def _with_one_more(run: Run, measured: Rhythm | None, at: datetime, saves: int) -> Run:
    """*run* after one more save, *at* that moment."""
    present = [c for c in run.complete if not in_future(c, at)]
    newest = (present or run.checkpoints)[-1]
    steps = (measured.steps if measured else None) or 1
    name = f"{saves} saves later"
    another = replace(
        newest,
        path=f"{run.path}/{name}",
        name=name,
        step=None if newest.step is None else newest.step + steps,
        saved_at=max(at, newest.saved_at),  # a clock may have been set back
        age=0.0,
        metrics={},
        pinned=False,
        uses=(),
        foreign=(),
        shared=0,
        linked=(),
    )
    return replace(
        run,
        checkpoints=tuple(sorted((*run.checkpoints, another), key=lambda c: c.order)),
        # What points at the newest will point at the next one.
        pointers={k: name if to == newest.name else to for k, to in run.pointers.items()},
    )
