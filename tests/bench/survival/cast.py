"""What a scenario is made of. Values only; bytes, seconds, and bytes per second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from bench.survival.filesystems import Room

MIB = 2**20
STEPS = 10
"""Training steps from one save to the next."""
USUAL = ("nothing", "cron, newest 2", "trainer's limit 2", "ckptd", "ckptd --keep-last 2")


@dataclass(frozen=True)
class Save:
    """One save of a training: `after` seconds of computing, then `bytes` in its containers.

    A third of them are weights, in `shards` files; `lora`: an adapter's.
    """

    after: float
    bytes: int
    loss: float
    shards: int = 1
    lora: bool = False

    @property
    def blocks(self) -> int:
        """Bytes that it takes at most, with its small files and its directory."""
        return self.bytes + 4096 * (self.shards + 14)

    @property
    def inodes(self) -> int:
        return self.shards + 9


@dataclass(frozen=True)
class Training:
    """A run directory's trainer: what it saves when, how fast it can write.

    `starts` seconds after the others. With `fsync` each file reaches the disk before the next
    one. It dies of a full disk, unless `stubborn`: then it trains on and tries its next save.
    `frozen` bytes of weights that it does not train lie beside its run, a hard link in each save.
    """

    run: str
    saves: tuple[Save, ...]
    rate: int = 60 * MIB
    starts: float = 0.0
    fsync: bool = False
    stubborn: bool = False
    frozen: int = 0

    @property
    def trained(self) -> dict[int, float]:
        """Seconds of computing that lie in each save, by its step."""
        each = accumulate(save.after for save in self.saves)
        return {STEPS * number: seconds for number, seconds in enumerate(each, start=1)}


@dataclass(frozen=True)
class RealTraining:
    """A real `transformers.Trainer`: options of `tests/e2e/train.py`, which make it save `saves`
    times, every `every` steps, about `bytes` each, after about `after` seconds.
    """

    run: str
    options: tuple[str, ...]
    saves: int
    every: int
    bytes: int
    after: float

    @property
    def trained(self) -> dict[int, float]:
        return {self.every * n: self.after * n for n in range(1, self.saves + 1)}


@dataclass(frozen=True)
class Neighbour:
    """Writes plain files outside of any checkpoint, until there are `bytes` of them."""

    bytes: int
    rate: int


@dataclass(frozen=True)
class Reader:
    """Opens a file and holds it until the end: of `checkpoint` (`RUN/NAME`) once that is complete,
    or, where it is None, of the first thing that lies in the trash.
    """

    checkpoint: str | None = None


@dataclass(frozen=True)
class Old:
    """A run that was there before anybody looked, and that nobody adopted."""

    run: str
    saves: tuple[Save, ...]


@dataclass(frozen=True)
class Cast:
    """All who are on one disk."""

    trainings: tuple[Training, ...] = ()
    real: RealTraining | None = None
    neighbour: Neighbour | None = None
    reader: Reader | None = None
    old: Old | None = None

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that are trained."""
        return tuple(training.run for training in self._trained)

    def trained(self, run: str) -> dict[int, float]:
        """Seconds of training that lie in each planned save of *run*, by its step."""
        return next(training.trained for training in self._trained if training.run == run)

    @property
    def _trained(self) -> tuple[Training | RealTraining, ...]:
        return (*self.trainings, self.real) if self.real else self.trainings


@dataclass(frozen=True)
class Scenario:
    """`cast` is told how much room there is, so that shares of a disk mean the same anywhere.

    `real`: whether it needs the training stack. `contenders` are the names of those who play.
    """

    name: str
    says: str
    kind: Literal["ext4", "xfs", "tmpfs"]
    size: int
    cast: Callable[[Room], Cast]
    inodes: int | None = None
    real: bool = False
    quick: bool = False
    contenders: tuple[str, ...] = USUAL
