"""One scenario under one contender: a disk, everybody on it, and what was seen meanwhile."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import Popen
from threading import Event

from bench.survival.cast import Cast, Scenario, Training
from bench.survival.contenders import Contender, configured, guarding
from bench.survival.diary import Diary, Note
from bench.survival.filesystems import Disk, Room, mounted
from bench.survival.processes import started
from bench.survival.wholeness import is_whole

EVERY = 0.1
GRACE = 3.0  # after the last save: calm is over, and what is still to go goes
PATIENCE = 400.0
_OURS = Path(__file__).parent


@dataclass(frozen=True)
class Sight:
    """What lay in each run at some moment between `begun` and `ended`, by name."""

    begun: float
    ended: float
    lying: dict[str, frozenset[str]]
    used: float


@dataclass
class Performance:
    """Everything that is known once the curtain has fallen. `notes` are by run."""

    cast: Cast
    contender: Contender
    room: Room
    notes: dict[str, list[Note]] = field(default_factory=dict)
    others: list[Note] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    whole: dict[str, frozenset[str]] = field(default_factory=dict)
    guard_ended: bool = False


def perform(
    scenario: Scenario, contender: Contender, images: Path, logs: Path, stop: Event
) -> Performance:
    """Plays *scenario* once under *contender*; what the processes said stays in *logs*.

    Clears the stage and raises InterruptedError once *stop* is set.
    """
    with mounted(scenario.kind, scenario.size, images, scenario.inodes) as disk:
        return _Stage(disk, scenario.cast(disk.room), contender, logs, stop).play()


@dataclass
class _Stage:
    disk: Disk
    cast: Cast
    contender: Contender
    logs: Path
    stop: Event

    @property
    def runs(self) -> Path:
        return self.disk.path / "runs"

    def play(self) -> Performance:
        self.runs.mkdir()
        done = Performance(self.cast, self.contender, self.disk.room)
        with ExitStack() as stack:
            if self.cast.old:
                old = Training(self.cast.old.run, self.cast.old.saves, rate=2**40)
                _trained(stack.enter_context(started(self._training(old), self._told(old.run))))
            guard = self._guard(stack)
            trainers = self._trainers(stack)
            self._others(stack)
            self._look_until_ended(trainers, done)
            done.guard_ended = guard is not None and guard.poll() is not None
        self._take_stock(done)
        return done

    # --- who comes on ----------------------------------------------------------------------

    def _guard(self, stack: ExitStack) -> Popen[bytes] | None:
        guard = self.contender.guard
        if guard is None:
            return None
        if self.cast.old and self.contender.judged:
            guard = configured(guard)
        return stack.enter_context(guarding(guard(self.runs, self.logs), self._told("guard")))

    def _trainers(self, stack: ExitStack) -> list[Popen[bytes]]:
        commands = {t.run: self._training(t, self.contender.limit) for t in self.cast.trainings}
        if self.cast.real:
            commands[self.cast.real.run] = self._real_training()
        return [
            stack.enter_context(started(command, self._told(run)))
            for run, command in commands.items()
        ]

    def _training(self, training: Training, limit: int | None = None) -> list[object]:
        saves = self.logs / f"{training.run}.saves"
        saves.write_text(json.dumps([asdict(save) for save in training.saves]))
        place, diary = self.runs / training.run, self._diary(training.run).path
        words = [sys.executable, _OURS / "trainer.py", place, "--saves", saves, "--log", diary]
        words += ["--rate", training.rate, "--starts", training.starts]
        words += ["--limit", limit] if limit else []
        words += ["--fsync"] if training.fsync else []
        words += ["--frozen", training.frozen] if training.frozen else []
        return [*words, "--stubborn"] if training.stubborn else words

    def _real_training(self) -> list[object]:
        real, limit = self.cast.real, self.contender.limit
        assert real is not None
        words = [sys.executable, _OURS / "real_trainer.py", "--log", self._diary(real.run).path]
        words += ["--output_dir", self.runs / real.run, *real.options]
        return [*words, "--save_total_limit", limit] if limit else words

    def _others(self, stack: ExitStack) -> None:
        log = ("--log", self._diary("others").path)
        if neighbour := self.cast.neighbour:
            words = [sys.executable, _OURS / "neighbour.py", self.disk.path / "others", *log]
            words += ["--bytes", neighbour.bytes, "--rate", neighbour.rate]
            stack.enter_context(started(words, self._told("neighbour")))
        if reader := self.cast.reader:
            words = [sys.executable, _OURS / "reader.py", self.runs, *log]
            words += ["--checkpoint", reader.checkpoint] if reader.checkpoint else ["--trash"]
            stack.enter_context(started(words, self._told("reader")))

    # --- what is seen ----------------------------------------------------------------------

    def _look_until_ended(self, trainers: list[Popen[bytes]], done: Performance) -> None:
        begun = time.monotonic()
        ended: float | None = None
        while ended is None or time.monotonic() - ended < GRACE:
            done.sights.append(self._look())
            if self.stop.wait(EVERY):
                raise InterruptedError(f"{self.contender.name}: stopped")
            if ended is None and all(trainer.poll() is not None for trainer in trainers):
                ended = time.monotonic()
            if time.monotonic() - begun > PATIENCE:
                raise TimeoutError(f"{self.contender.name}: the training did not end")

    def _look(self) -> Sight:
        begun = time.monotonic()
        lying = {run: frozenset(_names(self.runs / run)) for run in self.cast.runs}
        return Sight(begun, time.monotonic(), lying, self.disk.used())

    def _take_stock(self, done: Performance) -> None:
        """After everybody has gone."""
        runs = [*self.cast.runs, *([self.cast.old.run] if self.cast.old else [])]
        for run in runs:
            place = self.runs / run
            done.notes[run] = self._diary(run).read()
            done.whole[run] = frozenset(n for n in _names(place) if is_whole(place / n))
        done.others = self._diary("others").read()

    def _told(self, who: str) -> Path:
        return self.logs / f"{who}.told"

    def _diary(self, who: str) -> Diary:
        return Diary(self.logs / f"{who}.diary")


def _names(run: Path) -> list[str]:
    """The names of the saves that lie in *run*."""
    try:
        return [path.name for path in run.iterdir() if path.name.startswith("checkpoint-")]
    except FileNotFoundError:
        return []


def _trained(process: Popen[bytes]) -> None:
    assert process.wait(PATIENCE) == 0, "the old run could not be made"
