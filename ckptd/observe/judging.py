"""All saves of a run, judged: first those that prove themselves, then the rest beside these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckptd import formats
from ckptd.model import Findings, Health, Kind, Use
from ckptd.observe.memory import Memory, Sighting
from ckptd.observe.save import UNKNOWN, Moment, Save, Surroundings
from ckptd.observe.trainers import UNSEEN
from ckptd.policy.facts import CLOCK_SLACK
from ckptd.units import show_text


@dataclass(frozen=True, slots=True)
class Judged:
    """One save, its health, and the sentence that says why."""

    save: Save
    health: Health
    evidence: str


def alone(saves: Sequence[Save], around: Surroundings) -> list[Judged]:
    """Those that prove themselves are complete; all others might still be written."""
    return [_judge(save, (), around, may_write=True) for save in saves]


def meet(
    run: str,
    users: Sequence[Use],
    alone: Sequence[Judged],
    around: Surroundings,
    memory: Memory,
) -> None:
    """Keeps in mind who trains here, where this look has asked."""
    if around.snapshot is not None:
        open_ones = (j.save.claim.name for j in alone if j.health is not Health.COMPLETE)
        writers = [u for name in open_ones for u in around.snapshot.uses(f"{run}/{name}")]
        memory.trainers.meet(run, users, writers, around.at.monotonic)


def with_witnesses(
    run: str, alone: Sequence[Judged], around: Surroundings, memory: Memory, *, live: bool
) -> list[Judged]:
    """The complete ones are witnesses of what the others should be."""
    witnesses = [j.save.findings for j in alone if j.health is Health.COMPLETE]
    newest = max((found.saved_at for found in witnesses), default=None)

    def may_write(save: Save) -> bool:
        # Nobody goes back to an older save. Where other hosts write, only time tells.
        if around.filesystem.shared and save.quiet < around.policy.broken_after:
            return True
        if newest is not None and save.findings.saved_at < newest:
            return False
        return live or _may_be_unseen(run, save, around, memory)

    return [
        first
        if first.health is Health.COMPLETE
        else _judge(first.save, witnesses, around, may_write=may_write(first.save))
        for first in alone
    ]


def _may_be_unseen(run: str, save: Save, around: Surroundings, memory: Memory) -> bool:
    """Whether a trainer that has nothing of *save* open now may yet go on with it.

    Not with a file that it has closed too short.
    """
    if save.findings.damage:
        return False
    if memory.trainers.was_met(run):
        return memory.trainers.is_there(run, around.at.monotonic)
    if around.is_of_command(run):
        return False  # and COMMAND does not run
    return save.quiet < UNSEEN * around.policy.settle


def _judge(
    save: Save, witnesses: Sequence[Findings], around: Surroundings, *, may_write: bool
) -> Judged:
    health, evidence = formats.judge(
        save.findings,
        witnesses,
        quiet=save.quiet,
        writer=_writer(save, around.policy.settle),
        may_write=may_write,
        settle=around.policy.settle,
    )
    return Judged(save, health, evidence)


def _writer(save: Save, settle: float) -> str | None:
    """The sentence that names a writer. Where nobody can tell, a quiet time must do."""
    if save.writer == UNKNOWN:
        return None if save.quiet >= settle else "it changed a moment ago and may still be open"
    return f"{show_text(save.writer)} is open for writing" if save.writer else None


def unsure(run: str, judged: Sequence[Judged], around: Surroundings, memory: Memory) -> bool:
    """Whether a save's health hangs on who uses the run, or somebody writes and nobody knows who.

    And nobody has asked yet.
    """
    if around.snapshot is not None:
        return False
    open_ones = [j for j in judged if j.health is not Health.COMPLETE]
    if any(j.save.quiet >= around.policy.settle for j in open_ones):
        return True
    now = around.at.monotonic
    unknown = not memory.trainers.is_there(run, now) and memory.trainers.may_be_asked(run, now)
    return bool(open_ones) and unknown


def writing(run: str, judged: Sequence[Judged]) -> Iterator[str]:
    """The directories of saves that are not complete, for the watcher."""
    for j in judged:
        if j.health is not Health.COMPLETE:
            yield f"{run}/{j.save.claim.name}"
            for entry in j.save.tree.entries:
                if entry.kind is Kind.DIRECTORY:
                    yield f"{run}/{j.save.claim.name}/{entry.path}"


def remember(run: str, judged: Sequence[Judged], memory: Memory, at: Moment) -> None:
    """Keeps in mind how each save looked, and since when."""
    for j in judged:
        key = (run, j.save.claim.name)
        seen = memory.sightings.get(key)
        complete = j.health is Health.COMPLETE
        # A time to come tells no age: for such a save time begins with the first look at it.
        to_come = j.save.findings.saved_at > at.now + CLOCK_SLACK
        began = None if memory.looked_at is None and not to_come else at.monotonic
        if seen is None or seen.identity != j.save.identity:
            since, done = began, began if complete else None
        else:
            since = seen.since
            done = seen.complete_since if seen.complete else (at.monotonic if complete else None)
        memory.sightings[key] = Sighting(j.save.identity, j.save.findings, since, done, complete)
