"""The arithmetic in lines that a person can check with a pencil, and what follows from it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from math import ceil

from ckptd.advice.fitting import HORIZON, Ground, Kept, Spacing, Subject
from ckptd.model import Role
from ckptd.policy.rhythm import Rhythm
from ckptd.units import show_bytes, show_duration, show_text


def size(rhythm: Rhythm) -> str:
    """`12.3 GiB a save (the newest of 7)`."""
    which = "the only one so far" if rhythm.count == 1 else f"the newest of {rhythm.count}"
    changed = ""
    if rhythm.bytes_before is not None:
        changed = f"; {show_bytes(rhythm.bytes_before)} before, so only the newest count"
    return f"{show_bytes(rhythm.bytes)} a save ({which}{changed})"


def pace(rhythm: Rhythm) -> str:
    """`every 50 steps or 6 min, 7.2 s a step: 123 GiB an hour`; empty where none is known."""
    if not rhythm.seconds:
        return ""
    steps = f"{rhythm.steps} steps or " if rhythm.steps else ""
    step = f", {_seconds(rhythm.seconds_per_step)} a step" if rhythm.seconds_per_step else ""
    often = f"every {steps}{show_duration(rhythm.seconds)}{step}"
    return f"{often}: {show_bytes(round(rhythm.bytes_per_hour))} an hour"


def no_rhythm(subject: Subject) -> str:
    """Why nobody knows when the next save comes."""
    path, count = show_text(subject.run.path), subject.rhythm.count
    if count == 1:
        return f"one save is known of {path}: it has no rhythm before its second"
    return f"the {count} saves of {path} bear the same time (copied?), so they have no rhythm"


def room(ground: Ground, high: str) -> Iterator[str]:
    """What there is for checkpoints."""
    below = show_bytes(ground.room)
    yield f"{show_bytes(ground.filesystem.free)} are free for users, {_below(ground.room, high)}"
    whose = "this run" if not ground.others else f"these {len(ground.together)} runs"
    held = show_bytes(sum(subject.held for subject in ground.together))
    total = show_bytes(ground.for_checkpoints)
    yield f"the checkpoints of {whose} hold {held}: {below} + {held} = {total} for all of them"


def _below(room: int, high: str) -> str:
    if room < 0:
        return f"but the high mark ({high}) is passed by {show_bytes(-room)}"
    return f"{show_bytes(room)} of them below the high mark ({high})"


def count(ground: Ground, name: str, kept: Kept, largest: int) -> Iterator[str]:
    """Why *largest* of the setting *name* fits, and one more does not."""
    if largest:
        fits = f"{_sums(ground, kept, largest)} of {show_bytes(ground.for_checkpoints)}"
        yield f"{name} = {largest}, and one save being written before the oldest goes: {fits}"
    needed = ground.needed(kept, largest + 1)
    over = show_bytes(needed - ground.for_checkpoints)
    yield f"{name} = {largest + 1} needs {show_bytes(needed)}: {over} too much"


def _sums(ground: Ground, kept: Kept, number: int) -> str:
    terms = [_term(subject, saves, ground) for subject, saves in ground.saves(kept, number)]
    return f"{' + '.join(terms)} = {show_bytes(ground.needed(kept, number))}"


def _term(subject: Subject, saves: int, ground: Ground) -> str:
    size = subject.rhythm.bytes
    larger = subject.needed(saves) - saves * size
    more = f" + {show_bytes(larger)} that older saves are larger" if larger else ""
    whose = f" ({show_text(subject.run.path)})" if subject is not ground.subject else ""
    return f"{saves} x {show_bytes(size)}{more}{whose}"


def steps(ground: Ground, found: Spacing) -> Iterator[str]:
    """Why every save of the horizon fits with that many steps between them."""
    rhythm = ground.subject.rhythm
    share, span = show_bytes(ground.share), f"{HORIZON / 3600:.0f} h"
    if ground.others:
        yield f"of {show_bytes(ground.room)} up to the high mark {share} are for this run"
    holds = f"{share} hold {found.saves} more saves of {show_bytes(rhythm.bytes)}"
    pace = _seconds(rhythm.seconds_per_step)
    if found.enough:
        yield f"{holds}; {span} are {found.of_steps} steps at {pace} each, so all of them fit"
        return
    least = ceil(found.of_steps / found.saves)
    yield f"{holds}; {span} are {found.of_steps} steps at {pace} each"
    rounded = "" if least == found.steps else f", rounded up to {found.steps}"
    yield f"{found.of_steps} steps / {found.saves} saves = {least} steps between two{rounded}"


def loss(rhythm: Rhythm, save_steps: int) -> str:
    """What a crash costs with so many steps between saves."""
    half = save_steps / 2 * (rhythm.seconds_per_step or 0.0)
    text = f"a crash costs {_minutes(half)} of training on average (half an interval)"
    now = (rhythm.seconds or 0.0) / 2
    return text if save_steps == rhythm.steps else f"{text}, {_minutes(now)} as it is now"


def no_room_for_the_next(ground: Ground, keep_last: int) -> str:
    """Room is made only after a save, so that a limit which fits may still come too late."""
    path = shlex.quote(show_text(ground.subject.run.path))
    need, there = show_bytes(ground.next_saves), show_bytes(max(0, ground.room))
    return (
        f"the next saves need {need} before a trainer lets go of any, and {there} are there below "
        f"the high mark; let go first: ckptd apply --keep-last {keep_last} --trash-for 0s {path}"
    )


def too_big(ground: Ground, kept: Kept) -> str:
    """Why not even one save can be kept, and the way out."""
    subject, size = ground.subject, show_bytes(ground.subject.rhythm.bytes)
    saves = kept(subject, 1) + 1
    needed, there = ground.needed(kept, 1), ground.for_checkpoints
    best = "the best one, " if subject.best else ""
    what = f"{saves} saves at once ({best}the newest and the one being written)"
    alone = ground.room + subject.held
    if saves * subject.rhythm.bytes <= alone:
        count = len(ground.others)
        others = "the other run under way needs" if count == 1 else f"{count} others under way need"
        why = f"with what {others} that is {show_bytes(needed)}, and there are {show_bytes(there)}"
    else:
        mine = f"{saves} x {size} = {show_bytes(saves * subject.rhythm.bytes)}"
        why = f"{mine}, and there are {show_bytes(alone)} up to the high mark"
    return f"the disk is too small: a training needs {what}, {why}; {_way_out(subject)}"


def _way_out(subject: Subject) -> str:
    """Smaller saves, with the size that they would have, or another disk."""
    newest = subject.run.complete[-1:]
    extra = sum(p.bytes for c in newest for p in c.parts if p.role in (Role.OPTIMIZER, Role.RNG))
    if not extra:
        return "save to another disk, or save less of the model (an adapter)"
    less = show_bytes(max(0, subject.rhythm.bytes - extra))
    return f"save_only_model=True makes a save {less} (no resuming), or save to another disk"


def _seconds(seconds: float | None) -> str:
    """The time of a step: three digits that tell, as it is multiplied by thousands."""
    return f"{seconds or 0.0:.3g} s"


def _minutes(seconds: float) -> str:
    if seconds < 60:
        return show_duration(seconds)
    return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
