"""What a performance comes to, in hindsight: from the trainers' notes and what lay on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.survival.condition import firm_at, worst_need
from bench.survival.stage import Performance


@dataclass(frozen=True)
class Score:
    """Counts of saves. `lost` began and never became whole; `whole` are there at the end.

    `replay_kept` are seconds: a rollback to the moment of any planned save, on average, need not
    train so much again. `worst_need` as in `condition`.
    """

    name: str
    judged: bool
    full: int
    saved: int
    planned: int
    lost: int
    whole: int
    firm_lost: int
    replay_kept: float
    peak: float
    worst_need: float
    guard_ended: bool

    @property
    def held(self) -> bool:
        """Whether the condition of the goal was."""
        return self.worst_need <= 1

    @property
    def missed(self) -> tuple[str, ...]:
        """What the goal forbids and happened."""
        found = []
        if self.held and self.full:
            found.append(f"{self.full} ENOSPC")
        if self.held and self.lost > self.full:
            found.append(f"{self.lost - self.full} lost otherwise")
        if self.firm_lost:
            found.append(f"{self.firm_lost} firm lost")
        if self.guard_ended:
            found.append("it ended by itself")
        return tuple(found) if self.judged else ()


def score(done: Performance) -> Score:
    runs = done.cast.runs
    begun, saved, full = (
        sum(note["event"] == event for run in runs for note in done.notes[run])
        for event in ("begun", "saved", "enospc")
    )
    return Score(
        name=done.contender.name,
        judged=done.contender.judged,
        full=full,
        saved=saved,
        planned=sum(len(done.cast.trained(run)) for run in runs),
        lost=begun - saved,
        whole=sum(len(done.whole[run]) for run in runs),
        firm_lost=len(set(_firm_lost(done))),
        replay_kept=sum(_replay_kept(done, run) for run in runs),
        peak=max(sight.used for sight in done.sights),
        worst_need=worst_need(done),
        guard_ended=done.guard_ended,
    )


def _firm_lost(done: Performance) -> Iterator[tuple[str, str]]:
    """Firm ones that were not there at some moment, or are not whole at the end."""
    for run in done.cast.runs:
        notes, newest = done.notes[run], done.contender.firm
        for sight in done.sights:
            # Firm before and after the look: otherwise it may have been let go meanwhile.
            firm = _names(firm_at(notes, sight.begun, newest))
            firm &= _names(firm_at(notes, sight.ended, newest))
            yield from ((run, name) for name in firm - sight.lying[run])
        last = _names(firm_at(notes, float("inf"), newest))
        yield from ((run, name) for name in last - done.whole[run])
    if old := done.cast.old:
        every = _names(note["step"] for note in done.notes[old.run] if note["event"] == "saved")
        yield from ((old.run, name) for name in every - done.whole[old.run])


def _names(steps) -> set[str]:
    return {f"checkpoint-{step}" for step in steps}


def _replay_kept(done: Performance, run: str) -> float:
    trained = done.cast.trained(run)
    made = {note["step"] for note in done.notes[run] if note["event"] == "saved"}
    last = total = 0.0
    for step, seconds in trained.items():
        last = seconds if f"checkpoint-{step}" in done.whole[run] else last
        total += last if step in made else 0.0
    return total / len(trained)
