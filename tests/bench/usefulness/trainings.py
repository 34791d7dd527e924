"""Trainings that are thought up, with crashes and with people who go back. Seeded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

GIB = 2**30


@dataclass(frozen=True)
class Training:
    """Saves of `size` bytes `every` so many seconds on a disk of `disk` bytes.

    `moves` are what happens, in order: a `save` after so many intervals of training, or somebody
    goes `back` to a moment of the training, in intervals from its beginning.
    """

    size: int
    every: float
    disk: int
    moves: tuple[Move, ...]

    @property
    def saves(self) -> int:
        return sum(what == "save" for what, _ in self.moves)


Move = tuple[Literal["save", "back"], float]


def trainings(seed: int, count: int) -> Iterator[Training]:
    dice = Random(seed)
    for _ in range(count):
        size = int(_between(dice, 0.2, 80) * GIB)
        fitting = _between(dice, 6, 60)
        yield Training(
            size,
            every=_between(dice, 120, 7200),
            disk=int(size * fitting),
            moves=tuple(_moves(dice, length=int(fitting * _between(dice, 1.5, 12)))),
        )


def _between(dice: Random, least: float, most: float) -> float:
    """Any order of magnitude is as likely."""
    return math.exp(dice.uniform(math.log(least), math.log(most)))


def _moves(dice: Random, length: int) -> Iterator[Move]:
    """*length* saves, a crash for every 40 of them, and one to six times somebody goes back."""
    backs = {dice.randrange(length) for _ in range(dice.randint(1, 6))}
    at = 0.0  # intervals of training
    for n in range(length):
        at = math.floor(at) + 1.0
        yield "save", at
        if n in backs:
            at = back_to(dice, at + dice.random())
            yield "back", at
        elif dice.random() < 1 / 40:
            at = math.floor(at)  # what came after the newest save is trained again


def back_to(dice: Random, now: float) -> float:
    """Half of them notice soon (a loss that jumps), the others anywhere, however long ago."""
    if dice.random() < 0.5:
        return max(0.0, now - dice.expovariate(1 / 4))
    return dice.uniform(0.0, now)
