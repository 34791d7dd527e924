"""Holds forbid touching. Each is a question about one checkpoint: a reason, or None.

The names are the words of the JSON (`newest`, `pinned`, `in_use` ...).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from ckptd.model import Checkpoint, Health, Reason, Role, Run, Series
from ckptd.policy.settings import Policy
from ckptd.units import show_duration, show_text

# Clocks of two machines on one filesystem differ by seconds; a file time further ahead is wrong.
CLOCK_SLACK: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a hold may look at, worked out once for a run.

    `present` are the complete checkpoints that may be a reference (none saved in the future),
    oldest first; `demand` says that space is needed on the run's filesystem.
    """

    run: Run
    policy: Policy
    now: datetime
    demand: bool
    complete: Series
    present: Series
    newest: str | None
    resumable: str | None
    highest_step: int | None
    writing: tuple[str, ...]
    victims: frozenset[str]

    @classmethod
    def of(cls, run: Run, policy: Policy, now: datetime, *, demand: bool) -> Facts:
        complete = run.complete
        present = tuple(c for c in complete if not in_future(c, now))
        series = present or complete
        return cls(
            run,
            policy,
            now,
            demand,
            complete,
            present,
            newest=series[-1].name if series else None,
            resumable=next((c.name for c in reversed(series) if _resumable(c)), None),
            highest_step=max((c.step for c in complete if c.step is not None), default=None),
            writing=tuple(c.name for c in run.checkpoints if c.health is Health.WRITING),
            victims=_victims(complete, run.trainer_limit),
        )

    def without(self, gone: frozenset[str]) -> Facts:
        """These facts once *gone* is gone: the trainer then finds fewer to rotate."""
        left = tuple(c for c in self.complete if c.name not in gone)
        return replace(self, victims=self.victims & _victims(left, self.run.trainer_limit))


def _victims(complete: Series, limit: int | None) -> frozenset[str]:
    """What the trainer's next save makes it rotate away."""
    beyond = 0 if limit is None else max(0, len(complete) + 1 - limit)
    return frozenset(c.name for c in complete[:beyond])


def _resumable(checkpoint: Checkpoint) -> bool:
    """Whether it has an optimizer's state; a scheduler alone resumes nothing."""
    files = (file for p in checkpoint.parts if p.role is Role.OPTIMIZER for file in p.files)
    return any("optim" in file for file in files)


Hold = Callable[[Checkpoint, Facts], Reason | None]


def in_future(checkpoint: Checkpoint, now: datetime) -> bool:
    """Whether its file times lie ahead of the clock by more than two clocks may differ."""
    return checkpoint.saved_at > now + CLOCK_SLACK


def holds_on(checkpoint: Checkpoint, facts: Facts) -> Iterator[Reason]:
    """Every hold on *checkpoint*. Being the trainer's best is the planner's to find."""
    for hold in HOLDS:
        if reason := hold(checkpoint, facts):
            yield reason


def not_adopted(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    del checkpoint
    if facts.run.adopted:
        return None
    return _held("not_adopted", "this run is not adopted; ckptd adopt PATH puts it under care")


def untrusted(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    if facts.run.trusted:
        return None
    name = checkpoint.format
    text = f'format {name} is known from its source only; trust = ["{name}"] allows acting on it'
    return _held("untrusted", text)


def pinned(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    if checkpoint.pinned:
        return _held("pinned", "pinned; ckptd unpin PATH lets go of it")
    for pattern in facts.policy.pin:
        if fnmatchcase(checkpoint.name, pattern):
            return _held("pinned", f"pinned by pin = [{pattern!r}]")
    return None


def writing(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    if checkpoint.health is not Health.WRITING:
        return None
    who = f"; {facts.run.users[0].of('this run')}" if facts.run.users else ""
    return _held("writing", f"still being written: {show_text(checkpoint.evidence)}{who}")


def unproven(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    del facts
    if checkpoint.health is not Health.UNPROVEN:
        return None
    return _held("unproven", f"neither proven whole nor damaged: {checkpoint.evidence}")


def live(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    """A broken save stays while its trainer lives: it may yet be the one being written."""
    if checkpoint.health is not Health.BROKEN or not facts.run.live:
        return None
    users = facts.run.users
    who = users[0].of("this run") if users else "a live process works on this run"
    return _held("live", f"{who}; set aside once that has ended")


def newest(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    """The newest, and where that has lost its optimizer the newest that still has one."""
    if facts.newest == checkpoint.name:
        return _held("newest", "newest complete checkpoint of this run")
    if facts.resumable == checkpoint.name:
        return _held("newest", f"newest with an optimizer; {facts.newest} holds none")
    return None


def highest_step(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    """`resume_from_checkpoint=True` takes the highest number, whatever its age."""
    if not checkpoint.complete or checkpoint.step is None:
        return None
    if checkpoint.step != facts.highest_step:
        return None
    return _held("highest_step", "highest step of this run; resuming takes it")


def only_intact(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    if not checkpoint.complete or len(facts.complete) > 1:
        return None
    return _held("only_intact", "only complete checkpoint of this run")


def future(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    if not in_future(checkpoint, facts.now):
        return None
    when = checkpoint.saved_at.strftime("%Y-%m-%d")
    return _held("future", f"its file times say {when}, which is in the future; its age is unknown")


def pointer(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    names = sorted(link for link, to in facts.run.pointers.items() if to == checkpoint.name)
    return _held("pointer", f"{names[0]} points at it") if names else None


def in_use(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    del facts
    uses = [use for use in checkpoint.uses if use.how != "named"]
    return _held("in_use", str(uses[0])) if uses else None


def named(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    del facts
    uses = [use for use in checkpoint.uses if use.how == "named"]
    return _held("named", str(uses[0])) if uses else None


def not_owner(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    del facts
    if not checkpoint.unseen:
        return None
    text = "belongs to another user, whose processes are hidden: who uses it is not known"
    return _held("not_owner", text)


def foreign(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    del facts
    if not checkpoint.foreign:
        return None
    return _held("foreign", f"holds {checkpoint.foreign[0]}, which no trainer wrote")


def min_age(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    if checkpoint.age >= facts.policy.min_age:
        return None
    limit, missing = facts.policy.min_age, facts.policy.min_age - checkpoint.age
    text = f"too young by {show_duration(missing)}; min_age is {show_duration(limit)}"
    return _held("min_age", text)


def save_open(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    """Trainers list and stat their checkpoints around a save (DESIGN section 3, Calm)."""
    if facts.demand or not facts.writing or checkpoint.name in facts.writing:
        return None
    text = f"{facts.writing[0]} is being written in this run; nothing goes meanwhile"
    return _held("save_open", text)


def trainer_rotates(checkpoint: Checkpoint, facts: Facts) -> Reason | None:
    """The trainer's own next victims are left to it while it lives, unless space is needed."""
    if checkpoint.name not in facts.victims or not facts.run.live or facts.demand:
        return None
    limit = facts.run.trainer_limit
    return _held("trainer_rotates", f"left to the trainer: its save_total_limit is {limit}")


HOLDS: Final[tuple[Hold, ...]] = (
    not_adopted,
    untrusted,
    pinned,
    writing,
    unproven,
    live,
    newest,
    highest_step,
    only_intact,
    future,
    pointer,
    in_use,
    named,
    not_owner,
    foreign,
    min_age,
    save_open,
    trainer_rotates,
)


def _held(rule: str, text: str) -> Reason:
    """Names and evidence come from others: nothing of them may steer a terminal."""
    return Reason(rule, True, show_text(text))
