"""One keeper played over a span of time, and the curve that comes of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Final

from ckptd.model import Filesystem, World
from ckptd.simulation.course import Course, next_save
from ckptd.simulation.keepers import Nobody
from ckptd.simulation.replay import Replay, replay_of
from ckptd.simulation.stage import Stage

# Looks without any save, as what others write, ages and trash want them.
LOOKS: Final = 100
MOST_SAVES: Final = 5_000  # that are played; each look takes a time that grows with them
Point = tuple[float, int]  # seconds since the start, bytes used


@dataclass(frozen=True, slots=True)
class Curve:
    """The use of one filesystem; `filesystem` is as it was at the start. Points in time order.

    Where something is let go at once there are two of one moment: before it and after.
    """

    filesystem: Filesystem
    points: tuple[Point, ...]

    @property
    def peak(self) -> int:
        return max(used for _, used in self.points)


@dataclass(frozen=True, slots=True)
class Played:
    """What became of it. All spans are seconds from the start; None: it did not happen.

    `full_in_seconds` is when the first save found no room, `dead` the runs that died of one,
    `short_in_seconds` when nothing more might be let go that had to. `kept` are the complete
    checkpoints there at the end, of `saved` that came; `replay` is that of the runs that went on.
    """

    name: str
    curves: tuple[Curve, ...]
    saved: int
    kept: int
    let_go: int
    replay: Replay
    full_in_seconds: float | None = None
    short_in_seconds: float | None = None
    dead: tuple[str, ...] = ()


def saves_in(ways: Iterable[Course], span: float) -> float:
    """How many saves come in *span* seconds, about."""
    return sum(span / course.every for course in ways)


def play(
    world: World, ways: Sequence[Course], keeper: Nobody, span: float, now: datetime
) -> Played:
    """Plays *keeper* for *span* seconds from *now*, while the runs of *ways* go on."""
    stage = Stage(world, now)
    for way in ways:
        stage.begin(way.path, keeper.limit(stage.run(way.path).trainer_limit))
    writing = _Writing(stage)
    writing.look(keeper)
    saved = 0
    for at, coming in _moments(ways, stage, keeper, span):
        stage.wait(at, keeper.policies)
        if coming is not None:
            saved += stage.save(coming.path, next_save(stage.run(coming.path), coming, at))
            writing.mark()
            stage.rotate(coming.path)
        writing.look(keeper)
    begun = now.timestamp()
    return Played(
        keeper.name,
        writing.curves(world.filesystems),
        saved,
        kept=sum(len(run.complete) for run in stage.world.runs),
        let_go=stage.let_go,
        replay=replay_of(stage.run(way.path) for way in ways),
        full_in_seconds=min((at - begun for at in stage.dead.values()), default=None),
        short_in_seconds=None if keeper.short_at is None else keeper.short_at - begun,
        dead=tuple(stage.dead),
    )


class _Writing:
    """The curves while they are drawn."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._begun = stage.at
        self._points: dict[str, list[Point]] = {f.name: [] for f in stage.filesystems}

    def look(self, keeper: Nobody) -> None:
        """Lets the keeper look, and marks the use before it and after."""
        self.mark()
        keeper.look(self._stage)
        self.mark()

    def curves(self, filesystems: Iterable[Filesystem]) -> tuple[Curve, ...]:
        return tuple(Curve(f, tuple(self._points[f.name])) for f in filesystems)

    def mark(self) -> None:
        for filesystem in self._stage.filesystems:
            point = (self._stage.at - self._begun, filesystem.used)
            points = self._points[filesystem.name]
            if points[-1:] != [point]:
                points.append(point)


def _moments(
    ways: Sequence[Course], stage: Stage, keeper: Nobody, span: float
) -> Iterator[tuple[float, Course | None]]:
    """When something happens, in its order: a save that comes, or time for a look."""
    begun, end = stage.at, stage.at + span
    looks = iter(begun + span * n / LOOKS for n in range(1, LOOKS + 1))
    due = [(way.first_at, n) for n, way in enumerate(ways)]
    heapq.heapify(due)
    next_look = next(looks)
    while True:
        next_save_at = due[0][0] if due else inf
        at = min(next_save_at, next_look, stage.expiring(keeper.policies) or inf)
        if at > end:
            return
        if at < next_save_at:
            next_look = next(looks, inf) if at == next_look else next_look
            yield at, None
            continue
        _, n = heapq.heappop(due)
        if ways[n].path not in stage.dead:
            heapq.heappush(due, (at + ways[n].every, n))
            yield at, ways[n]
