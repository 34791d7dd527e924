"""Which settings fit a disk, from what the saves on it were like. Pure: values in, advice out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ckptd.advice import words
from ckptd.advice.fitting import Ground, Subject, spacing
from ckptd.model import Filesystem, Run
from ckptd.policy import Marks
from ckptd.policy.foresight import full_in, is_under_way
from ckptd.policy.pressure import room
from ckptd.policy.rhythm import Rhythm, rhythm
from ckptd.units import Share, show_bytes, show_text

__all__ = ["Advice", "Forecast", "Place", "advise", "forecast"]


@dataclass(frozen=True, slots=True)
class Place:
    """A filesystem with its marks, and the runs on it."""

    filesystem: Filesystem
    marks: Marks
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What all runs under way write together, and when that fills the filesystem.

    None: it never does, with what is known.
    """

    filesystem: Filesystem
    under_way: int
    bytes_per_hour: float
    full_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class Advice:
    """What fits one run. None where nothing does or not enough is known: `sentences` say why.

    `full_in_seconds` counts this run as under way. `arithmetic` are lines to check it by.
    """

    run: Run
    rhythm: Rhythm | None
    under_way: bool = False
    full_in_seconds: float | None = None
    save_total_limit: int | None = None
    save_steps: int | None = None
    keep_last: int | None = None
    sentences: tuple[str, ...] = ()
    arithmetic: tuple[str, ...] = ()


def forecast(place: Place, now: float) -> Forecast:
    """What becomes of a filesystem when ckptd lets nothing go; *now* in seconds since 1970."""
    writing = [subject for subject in _subjects(place, now) if subject.under_way]
    return Forecast(
        place.filesystem,
        under_way=len(writing),
        bytes_per_hour=sum(subject.rhythm.bytes_per_hour for subject in writing),
        full_in_seconds=full_in(place.filesystem.free, (s.growth for s in writing)),
    )


def advise(place: Place, now: float) -> tuple[Advice, ...]:
    """One Advice for each run of *place*, in their order."""
    subjects = {subject.run.path: subject for subject in _subjects(place, now)}
    return tuple(
        _advise(_ground(place, subjects[run.path], subjects), _shown(place.marks.high))
        if run.path in subjects
        else Advice(run, None, sentences=(_unmeasured(run),))
        for run in place.runs
    )


def _subjects(place: Place, now: float) -> list[Subject]:
    return [
        Subject(run, measured, is_under_way(run, measured, now) and _has_pace(run, measured))
        for run in place.runs
        if (measured := rhythm(run.saves))
    ]


def _has_pace(run: Run, measured: Rhythm) -> bool:
    """Whether something can be said of its next save; a first one alone has no rhythm."""
    return run.live or measured.seconds is not None


def _ground(place: Place, subject: Subject, subjects: Mapping[str, Subject]) -> Ground:
    others = tuple(s for s in subjects.values() if s.under_way and s is not subject)
    return Ground(subject, others, place.filesystem, room(place.filesystem, place.marks))


def _unmeasured(run: Run) -> str:
    seen = f"none of its {len(run.checkpoints)} is whole" if run.checkpoints else "it has none"
    return f"no whole save is known of {show_text(run.path)} ({seen}), so nothing can be measured"


def _advise(ground: Ground, high: str) -> Advice:
    subject, filesystem = ground.subject, ground.filesystem
    if filesystem.usable <= 0:
        sentence = f"{show_text(filesystem.mount)} does not tell its size, so nothing fits for sure"
        return Advice(subject.run, subject.rhythm, subject.under_way, sentences=(sentence,))
    limit = ground.largest(Subject.kept_by_trainer)
    keep_last = ground.largest(Subject.kept_by_policy)
    found = spacing(ground)
    return Advice(
        subject.run,
        subject.rhythm,
        subject.under_way,
        full_in_seconds=full_in(filesystem.free, (s.growth for s in ground.together)),
        save_total_limit=limit or None,
        save_steps=found.steps if found else None,
        keep_last=keep_last or None,
        sentences=tuple(_sentences(ground, limit, keep_last)),
        arithmetic=(
            *words.room(ground, high),
            *_counts(ground, limit, keep_last),
            *(words.steps(ground, found) if found else ()),
        ),
    )


def _counts(ground: Ground, limit: int, keep_last: int) -> Iterator[str]:
    trainer, policy = Subject.kept_by_trainer, Subject.kept_by_policy
    if limit == keep_last and not ground.subject.best:
        yield from words.count(ground, "save_total_limit or keep_last", trainer, limit)
        return
    yield from words.count(ground, "save_total_limit", trainer, limit)
    yield from words.count(ground, "keep_last (the best on top)", policy, keep_last)


def _sentences(ground: Ground, limit: int, keep_last: int) -> Iterator[str]:
    rhythm = ground.subject.rhythm
    if not limit:
        yield words.too_big(ground, Subject.kept_by_trainer)
    elif keep_last and ground.room < ground.next_saves:
        yield words.no_room_for_the_next(ground, keep_last)
    if not rhythm.seconds:
        yield words.no_rhythm(ground.subject)
    elif ground.share < rhythm.bytes:
        share, size = show_bytes(ground.share), show_bytes(rhythm.bytes)
        yield f"no save_steps keeps every save: {share} are there for them, and one takes {size}"
    elif not rhythm.steps:
        yield "its saves tell no steps, so no save_steps can be given"


def _shown(mark: Share | int) -> str:
    return show_bytes(mark) if isinstance(mark, int) else str(mark)
