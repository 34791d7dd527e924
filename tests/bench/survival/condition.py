"""Whether the firm ones, one save per live run and 5 % fitted on the disk all the while."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.survival.cast import Training
from bench.survival.diary import Note
from bench.survival.stage import Performance

SLACK = 0.05


@dataclass(frozen=True)
class Need:
    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(self.bytes + other.bytes, self.inodes + other.inodes)


def worst_need(done: Performance) -> float:
    """The largest share of the disk that they needed at any moment; up to 1 it was held.

    What the contender may not touch counts as firm: an old run, a file that somebody holds, and
    what the neighbour has written by then.
    """
    notes = [note for run in done.notes.values() for note in run] + done.others
    return max((_share(done, note["at"]) for note in notes), default=0.0)


def firm_at(notes: list[Note], moment: float, newest: int) -> dict[int, Note]:
    """The saves, by step, that must be there: the *newest* ones and the best."""
    saved = [note for note in notes if note["event"] == "saved" and note["at"] <= moment]
    rated = [note for note in saved if note.get("loss") is not None]
    best = min(rated, key=lambda note: note["loss"], default=None)
    return {note["step"]: note for note in (*saved[-newest:], *([best] if best else []))}


def _share(done: Performance, moment: float) -> float:
    needs = sum(_needs(done, moment), start=Need())
    shares = [needs.bytes / done.room.bytes]
    if done.room.inodes:
        shares.append(needs.inodes / done.room.inodes)
    return max(shares) + SLACK


def _needs(done: Performance, moment: float) -> Iterator[Need]:
    cast = done.cast
    for run in cast.runs:
        yield from map(_taken, firm_at(done.notes[run], moment, done.contender.firm).values())
    yield from (_next(training, done.notes[training.run], moment) for training in cast.trainings)
    yield from (Need(training.frozen, 2) for training in cast.trainings if training.frozen)
    if cast.real:
        yield Need(cast.real.bytes, 12)
    if cast.old:
        yield from (_taken(n) for n in done.notes[cast.old.run] if n["event"] == "saved")
    filled = [n for n in done.others if n["event"] == "filled" and n["at"] <= moment]
    yield from (Need(note["bytes"], 0) for note in filled[-1:])
    yield from _held(done, moment)


def _next(training: Training, notes: list[Note], moment: float) -> Need:
    """The save that is written or comes next, as long as its trainer lives."""
    past = [note["event"] for note in notes if note["at"] <= moment]
    number = past.count("saved") + past.count("enospc")
    if number == len(training.saves) or ("enospc" in past and not training.stubborn):
        return Need()
    return Need(training.saves[number].blocks, training.saves[number].inodes)


def _held(done: Performance, moment: float) -> Iterator[Need]:
    """What a reader keeps from coming free."""
    for note in done.others:
        if note["event"] != "held" or note["at"] > moment:
            continue
        if note["checkpoint"] is None:
            yield Need(note["bytes"], 1)
            continue
        run, _, name = note["checkpoint"].partition("/")
        step = int(name.rpartition("-")[2])
        if step not in firm_at(done.notes[run], moment, done.contender.firm):
            saved = (n for n in done.notes[run] if n["event"] == "saved")
            yield next(_taken(n) for n in saved if n["step"] == step)


def _taken(note: Note) -> Need:
    return Need(note["bytes"], note["inodes"])
