"""Who keeps checkpoints in a training: ckptd, the newest so many, one who knows what will come.

Each is told of a save and of what is given up, and says which saves it has; a save is called by
the intervals of training before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from trainings import Move, Training

from ckptd.policy import Policies
from ckptd.simulation import ByPolicy, Stage, invented
from ckptd.simulation.course import next_save

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STEPS = 100


class Ckptd:
    """The real planner with its defaults, on the disk of the training. `most` it ever held."""

    def __init__(self, training: Training) -> None:
        world, (self._way,) = invented(
            training.disk, 0, save=training.size, every=training.every, runs=1, now=NOW
        )
        self._stage = Stage(world, NOW)
        self._keeper = ByPolicy(Policies())
        self.most = 0

    def save(self, at: float) -> None:
        self._stage.wait(self._stage.at + self._way.every, Policies())
        run, step = self._stage.run(self._way.path), round(at * STEPS)
        name = f"checkpoint-{step}"
        fresh = next_save(run, self._way, self._stage.at)
        named = replace(fresh, step=step, name=name, path=f"{run.path}/{name}")
        assert self._stage.save(run.path, named), "no room was left"
        self._keeper.look(self._stage)
        self.most = max(self.most, len(self.has))

    def give_up(self, after: float) -> None:
        run = self._stage.run(self._way.path)
        later = [c for c in run.checkpoints if c.step is not None and c.step > after * STEPS]
        self._stage.remove(run.path, later)

    @property
    def has(self) -> list[float]:
        run = self._stage.run(self._way.path)
        return [c.step / STEPS for c in run.complete if c.step is not None]


class Newest:
    """The newest *count* by the time they were written, as save_total_limit."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.has: list[float] = []

    def save(self, at: float) -> None:
        self.has = [*(each for each in self.has if each != at), at][-self._count :]

    def give_up(self, after: float) -> None:
        self.has = [each for each in self.has if each <= after]


class Clairvoyant:
    """*count* saves, the best there can be for what is to come: it knows every move."""

    def __init__(self, count: int, moves: Sequence[Move]) -> None:
        self._count = count
        self._moves = moves
        self._made = 0
        self.has: list[float] = []

    def save(self, at: float) -> None:
        self.has = sorted({*self.has, at})
        if len(self.has) > self._count:
            wanted = Counter(self._wanted())
            self.has.remove(min(self.has[:-1], key=lambda each: wanted[each] * self._gap(each)))

    def moved(self) -> None:
        """A move is over, so that those after it are to come."""
        self._made += 1

    def give_up(self, after: float) -> None:
        self.has = [each for each in self.has if each <= after]

    def _gap(self, save: float) -> float:
        """What is trained again without it, with what else is there."""
        return save - max((each for each in self.has if each < save), default=0.0)

    def _wanted(self) -> list[float]:
        """The saves there are that somebody will go back to, as often as that happens."""
        there, wanted = list(self.has), []
        for what, at in self._moves[self._made + 1 :]:
            if what == "save":
                there.append(at)
            else:
                there = [each for each in there if each <= at]
                wanted += [max(there)] if there else []
        return wanted
