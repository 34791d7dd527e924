"""What in a look is news: each fact is told once, when it begins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ckptd.ledger import Record, Save
from ckptd.model import Checkpoint, Health, Plan, Run, World
from ckptd.units import show_bytes


@dataclass(slots=True)
class Notices:
    """Remembers what was told, as far as it still holds; `first` until one look was taken in.

    `lost` are what cannot be read, `handed` the saves that were handed out, by path.
    """

    health: dict[str, Health] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    handed: dict[str, datetime] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    first: bool = True

    def of_world(self, world: World) -> Iterator[Record]:
        """Saves that became complete or broken, and what cannot be read.

        Complete saves that were there before the first look are no news.
        """
        known, self.health = self.health, {}
        for run in world.runs:
            for checkpoint in run.checkpoints:
                self.health[checkpoint.path] = checkpoint.health
                if known.get(checkpoint.path) is not checkpoint.health:
                    yield from self._of_health(run, checkpoint)
        before, self.lost = self.lost, frozenset(lost.path for lost in world.unreadable)
        for lost in {lost.path: lost for lost in world.unreadable}.values():
            if lost.path not in before:
                yield fact("unreadable", lost.path, lost.error)
        self.first = False

    def of_plan(self, plan: Plan) -> Iterator[Record]:
        """A filesystem that came under demand, and one that cannot be relieved."""
        for need in plan.filesystems:
            path, used = need.filesystem.path, need.filesystem.used_percent
            wanted, missing = show_bytes(need.demand), show_bytes(need.shortfall)
            pressed = f"{used:.1f} % used; {wanted} must come free"
            short = f"{used:.1f} % used; {missing} more are needed than may be let go"
            for event, amount, text in (
                ("pressure", need.demand, pressed),
                ("shortfall", need.shortfall, short),
            ):
                key = f"{event} {path}"
                if not amount:
                    self.said.discard(key)
                elif self._new(key):
                    yield fact(event, path, text, size=amount)

    def saves(self, world: World) -> Iterator[Save]:
        """Complete saves that were not handed out before: their sizes and times forecast."""
        before, self.handed = self.handed, {}
        for run in world.runs:
            for c in run.complete:
                self.handed[c.path] = c.saved_at
                if before.get(c.path) != c.saved_at:
                    yield Save(
                        run=run.path,
                        name=c.name,
                        step=c.step,
                        bytes=c.bytes,
                        saved_at=c.saved_at.timestamp(),
                    )

    def is_news(self, record: Record) -> bool:
        """Whether this was not told before: the same refusal recurs at every look."""
        subject = f"{record.run} {record.checkpoint}"
        return self._new(f"{record.event} {subject} {record.reason} {record.error}")

    def _of_health(self, run: Run, checkpoint: Checkpoint) -> Iterator[Record]:
        if checkpoint.complete and not self.first:
            yield of_checkpoint("recognised", run, checkpoint)
        elif checkpoint.health is Health.BROKEN:
            yield of_checkpoint("broken", run, checkpoint)

    def _new(self, key: str) -> bool:
        if key in self.said:
            return False
        self.said.add(key)
        return True


def of_checkpoint(event: str, run: Run, checkpoint: Checkpoint) -> Record:
    """A record of *event* about a checkpoint, its evidence the reason."""
    return Record(
        event=event,
        at=time.time(),
        checkpoint=checkpoint.path,
        run=run.path,
        step=checkpoint.step,
        bytes=checkpoint.bytes,
        rule=checkpoint.health.value,
        reason=checkpoint.evidence,
    )


def fact(event: str, path: str, text: str, *, size: int = 0) -> Record:
    """A record of *event* about a path that is no checkpoint; *size* in bytes."""
    return Record(event=event, at=time.time(), run=path, bytes=size, rule=event, reason=text)
