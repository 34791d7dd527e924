"""Starts trainings and ckptd as processes of their own, and says what they left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("train.py")
PATIENCE = 240.0
# Always fuller than it may be: nothing waits for calm, and what goes is purged at once.
PRESSED = ("--high", "1MiB", "--low", "1KiB")
STACK = ("torch", "transformers", "peft", "accelerate")

needs_stack = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in STACK),
    reason=f"needs the e2e extra: {', '.join(STACK)}",
)


def marks(*more: pytest.MarkDecorator) -> list[pytest.MarkDecorator]:
    """The `pytestmark` of every module here."""
    return [pytest.mark.e2e, pytest.mark.timeout(2 * PATIENCE), needs_stack, *more]


@dataclass(frozen=True)
class Ended:
    """A process that has ended: its status and what it said."""

    status: int
    out: str
    err: str

    @cached_property
    def training(self) -> Mapping[str, object]:
        """What the training ended with: `global_step`, `best_model_checkpoint`, `best_loaded`."""
        return next(line for line in json_lines(self.out) if "global_step" in line)

    @property
    def best(self) -> int:
        """The step of the best checkpoint, by the trainer's own word."""
        return step_of(str(self.training["best_model_checkpoint"]))

    @cached_property
    def events(self) -> list[Mapping[str, object]]:
        """ckptd's events, in their order."""
        return [line for line in json_lines(self.err) if "event" in line]

    def steps_of(self, event: str) -> list[object]:
        """The steps that *event* was told of, where it was done."""
        told = [e for e in self.events if e["event"] == event and e["outcome"] == "done"]
        return [e["step"] for e in told]

    def check(self) -> Ended:
        """Itself, when the status is 0."""
        assert self.status == 0, f"{self.status}\n{self.out[-2000:]}\n{self.err[-4000:]}"
        return self


def json_lines(text: str) -> list[dict[str, object]]:
    """The JSON objects among the lines of *text*."""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def training(out: Path, *options: object) -> list[str]:
    """The command of a training that saves to *out*."""
    return [sys.executable, str(SCRIPT), "--output_dir", str(out), *map(str, options)]


def ckptd(command: str, *arguments: object, state: Path) -> list[str]:
    """The command line of ckptd, with a ledger of its own."""
    words = [sys.executable, "-m", "ckptd", command, "--state", state, *arguments]
    return [str(word) for word in words]


def run(command: Sequence[str]) -> Ended:
    """Runs *command* to its end; kills it after PATIENCE."""
    ended = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def start(command: Sequence[str], told: Path) -> subprocess.Popen[bytes]:
    """Starts *command*; its two outputs go to the files `told.out` and `told.err`, appended."""
    with open(f"{told}.out", "ab") as out, open(f"{told}.err", "ab") as err:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)


def ended(process: subprocess.Popen[bytes], told: Path, patience: float = PATIENCE) -> Ended:
    """Waits for what `start` started."""
    try:
        status = process.wait(patience)
    finally:
        process.kill()
    return Ended(status, Path(f"{told}.out").read_text(), Path(f"{told}.err").read_text())


def exec_(out: Path, *policy: object, command: Sequence[str], state: Path | None = None) -> Ended:
    """`ckptd exec` around *command*; its ledger in *state*, or beside the output directory."""
    own = ckptd("exec", "--json", *policy, state=state or out.parent / "state")
    return run([*own, "--", *command])


def wait_for(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether *true* became so within *seconds*."""
    until = time.monotonic() + seconds
    while not (so := true()) and time.monotonic() < until:
        time.sleep(0.05)
    return so


def step_of(path: str) -> int:
    return int(path.rpartition("-")[2])


def steps(out: Path) -> set[int]:
    """The steps of the checkpoints that lie in *out*."""
    return {step_of(name) for name in os.listdir(out) if name.startswith("checkpoint-")}


def others(out: Path) -> set[str]:
    """Everything else that lies in *out*."""
    return {name for name in os.listdir(out) if not name.startswith("checkpoint-")}
