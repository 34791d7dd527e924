"""Holds forbid touching. Each says which checkpoints of a run it holds, and why in words.

Their names are the words of the JSON (`newest`, `pinned`, `in_use` ...). Like a rule, a hold is
asked once for a run: most of them hold nothing of most runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final

from ckptd.model import Checkpoint, Health, Reason
from ckptd.policy.facts import CLOCK_SLACK, Facts
from ckptd.units import show_duration, show_text

Held = Iterator[tuple[Checkpoint, str]]
Hold = Callable[[Facts], Held]


def holds_of(facts: Facts) -> Mapping[str, tuple[Reason, ...]]:
    """Every hold on each checkpoint that has one, by its name.

    Being the trainer's best is the judge's to find.
    """
    held: dict[str, tuple[Reason, ...]] = {}
    for hold in HOLDS:
        for checkpoint, text in hold(facts):
            # Names and evidence come from others: nothing of them may steer a terminal.
            reason = Reason(hold.__name__, True, show_text(text))
            held[checkpoint.name] = (*held.get(checkpoint.name, ()), reason)
    return held


def _all(facts: Facts, text: str) -> Held:
    return ((checkpoint, text) for checkpoint in facts.run.checkpoints)


# --- the whole run ---------------------------------------------------------------------------


def not_adopted(facts: Facts) -> Held:
    if not facts.run.adopted:
        yield from _all(facts, "this run is not adopted; ckptd adopt PATH puts it under care")


def frozen(facts: Facts) -> Held:
    if facts.policy.frozen:
        yield from _all(facts, facts.policy.frozen)


def untrusted(facts: Facts) -> Held:
    if not facts.run.trusted:
        for checkpoint in facts.run.checkpoints:
            name = checkpoint.format
            known = f"format {name} is known from its source only"
            yield checkpoint, f'{known}; trust = ["{name}"] allows acting on it'


# --- what somebody said, or does ----------------------------------------------------------------


def pinned(facts: Facts) -> Held:
    patterns = facts.policy.pin
    for checkpoint in facts.run.checkpoints:
        if checkpoint.pinned:
            yield checkpoint, "pinned; ckptd unpin PATH lets go of it"
        elif by := [p for p in patterns if fnmatchcase(checkpoint.name, p)]:
            yield checkpoint, f"pinned by pin = [{by[0]!r}]"


def writing(facts: Facts) -> Held:
    who = f"; {facts.run.users[0].of('this run')}" if facts.run.users else ""
    for checkpoint in facts.ill(Health.WRITING):
        yield checkpoint, f"still being written: {show_text(checkpoint.evidence)}{who}"


def unproven(facts: Facts) -> Held:
    for checkpoint in facts.ill(Health.UNPROVEN):
        yield checkpoint, f"neither proven whole nor damaged: {checkpoint.evidence}"


def live(facts: Facts) -> Held:
    """A broken save stays while its trainer lives: it may yet be the one being written."""
    if facts.run.live:
        users = facts.run.users
        who = users[0].of("this run") if users else "a live process works on this run"
        for checkpoint in facts.ill(Health.BROKEN):
            yield checkpoint, f"{who}; set aside once that has ended"


# --- what a training needs ----------------------------------------------------------------------


def newest(facts: Facts) -> Held:
    """The newest, and where that has lost its optimizer the newest that still has one."""
    if facts.newest:
        yield facts.newest, "newest complete checkpoint of this run"
    if facts.newest and facts.resumable and facts.resumable is not facts.newest:
        text = f"newest with an optimizer; {facts.newest.name} holds none"
        yield facts.resumable, text


def highest_step(facts: Facts) -> Held:
    """`resume_from_checkpoint=True` takes the highest number, whatever its age."""
    if (highest := facts.highest_step) is not None:
        for checkpoint in facts.complete:
            if checkpoint.step == highest:
                yield checkpoint, "highest step of this run; resuming takes it"


def only_intact(facts: Facts) -> Held:
    if len(facts.complete) == 1:
        yield facts.complete[0], "only complete checkpoint of this run"


def last_healthy(facts: Facts) -> Held:
    for checkpoint in facts.run.checkpoints if facts.last_healthy else ():
        if lost := facts.last_healthy.get(checkpoint.name):
            if_so = "" if lost.proven else " if it stays so"
            yield checkpoint, f"last healthy one{if_so}: {lost}"


def future(facts: Facts) -> Held:
    latest = facts.now + CLOCK_SLACK
    for checkpoint in facts.run.checkpoints:
        if checkpoint.saved_at > latest:
            when = checkpoint.saved_at.strftime("%Y-%m-%d")
            known = f"its file times say {when}, which is in the future"
            yield checkpoint, f"{known}; its age is unknown"


def pointer(facts: Facts) -> Held:
    names = {to: link for link, to in sorted(facts.run.pointers.items(), reverse=True)}
    for checkpoint in facts.run.checkpoints if names else ():
        if link := names.get(checkpoint.name):
            yield checkpoint, f"{link} points at it"


def in_use(facts: Facts) -> Held:
    for checkpoint in facts.run.checkpoints:
        if checkpoint.uses and (uses := [u for u in checkpoint.uses if u.how != "named"]):
            yield checkpoint, str(uses[0])


def named(facts: Facts) -> Held:
    for checkpoint in facts.run.checkpoints:
        if checkpoint.uses and (uses := [u for u in checkpoint.uses if u.how == "named"]):
            yield checkpoint, str(uses[0])


def not_owner(facts: Facts) -> Held:
    text = "belongs to another user, whose processes are hidden: who uses it is not known"
    return ((checkpoint, text) for checkpoint in facts.run.checkpoints if checkpoint.unseen)


def foreign(facts: Facts) -> Held:
    for checkpoint in facts.run.checkpoints:
        if checkpoint.foreign:
            yield checkpoint, f"holds {checkpoint.foreign[0]}, which no trainer wrote"


# --- for now ------------------------------------------------------------------------------------


def min_age(facts: Facts) -> Held:
    limit = facts.policy.min_age
    for checkpoint in facts.run.checkpoints if limit > 0 else ():
        if (missing := limit - checkpoint.age) > 0:
            known = f"too young by {show_duration(missing)}"
            yield checkpoint, f"{known}; min_age is {show_duration(limit)}"


def save_open(facts: Facts) -> Held:
    """Trainers list and stat their checkpoints around a save (DESIGN section 3, Calm)."""
    if (opened := facts.ill(Health.WRITING)) and not facts.demand:
        text = f"{opened[0].name} is being written in this run; nothing goes meanwhile"
        for checkpoint in facts.run.checkpoints:
            if checkpoint.health is not Health.WRITING:
                yield checkpoint, text


def trainer_rotates(facts: Facts) -> Held:
    """The trainer's own next victims are left to it while it lives, unless space is needed."""
    if facts.victims and facts.run.live and not facts.demand:
        text = f"left to the trainer: its save_total_limit is {facts.run.trainer_limit}"
        for checkpoint in facts.run.checkpoints:
            if checkpoint.name in facts.victims:
                yield checkpoint, text


HOLDS: Final[tuple[Hold, ...]] = (
    not_adopted,
    frozen,
    untrusted,
    pinned,
    writing,
    unproven,
    live,
    newest,
    highest_step,
    only_intact,
    last_healthy,
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
