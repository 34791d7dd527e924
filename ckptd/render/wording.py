"""Sentences that more than one command says in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ckptd.model import Obstacle, Relief, Run
from ckptd.units import show_bytes, show_text


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`, `2 watches`."""
    more = "es" if noun.endswith("ch") else "s"
    return f"{count} {noun}{'' if count == 1 else more}"


def amount(size: int, inodes: int) -> str:
    """`4.2 GiB`, `120 inodes`, or both."""
    return " and ".join(
        [*([show_bytes(size)] if size else []), *([counted(inodes, "inode")] if inodes else [])]
    )


def fullness(need: Relief) -> str:
    """`is 91.2 % used`, and where inodes lack how many of them are free."""
    filesystem = need.filesystem
    inodes = f"has {filesystem.inodes_free} of {filesystem.inodes_total} inodes free"
    used = f"is {filesystem.used_percent:.1f} % used"
    if not need.inodes:
        return used
    return f"{used} and {inodes}" if need.demand else inodes


def obstacles_text(obstacles: Sequence[Obstacle]) -> str:
    """`/data/a/merged (120 GiB, no checkpoint that ckptd knows), ...`; empty without any."""
    told = (f"{show_text(each.path)} ({show_bytes(each.bytes)}, {each.what})" for each in obstacles)
    return ", ".join(told)


def when(at: datetime) -> str:
    """A moment for people: `2026-01-02 03:04:05 UTC`."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds") + " UTC"


def not_adopted_text(runs: Sequence[Run]) -> str:
    """What those of *runs* that are not adopted hold, and the way in; empty when all are."""
    strangers = [run for run in runs if not run.adopted]
    return not_adopted(len(strangers), sum(c.bytes for r in strangers for c in r.checkpoints))


def not_adopted(runs: int, size: int) -> str:
    """As `not_adopted_text`, for so many *runs* that hold *size* bytes."""
    if not runs:
        return ""
    held = f"{show_bytes(size)} in {counted(runs, 'run')} not adopted"
    return f"{held}; ckptd adopt PATH puts {'it' if runs == 1 else 'them'} under care"
