"""Trainings, people and mishaps around one real `ckptd watch`, by the seed of a chance."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from soak.gauge import Gauge
from soak.oracle import Run, Save

HERE = Path(__file__).parent
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("/nonexistent"))
CONFIG = """
[[watch]]
path = "{data}"
adopt = "all"
[policy]
trash_for = "10s"
finished_after = "20s"
"""
DROP_INS = (
    "[policy]\nkeep_last = 3\n",
    "[policy]\nkeep_last = 2\nkeep_every_steps = 200\n",
    "[policy]\nkeep_within = '20s'\nkeep_best = 2\n",
    "[policy]\nmax_size = '8MiB'\n",
    "[policy]\nkeep_last = 'many'\n",  # a mistake: it freezes
    "[policy\n",
)
# Not for runs of which two stay.
SEVERE = ("[policy]\nkeep_last = 1\n", "[policy.finished]\nkeep_last = 1\n")
MOST_RUNS = 6
DAY = 86_400


class Training:
    """A trainer of one run; what it says goes to the oracle's view of that run."""

    def __init__(self, run: Run, seed: str, died: Callable[[], None]) -> None:
        self.run = run
        self._died = died
        command = [sys.executable, str(HERE / "trainer.py"), "--output_dir", str(run.path), seed]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, **pipes)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def _read(self) -> None:
        with self.process.stdout as lines:
            for line in lines:
                with suppress(ValueError):  # cut off by a kill
                    self._hear(json.loads(line))
        if self.process.wait() > 0:
            self._died()  # by a full disk: a kill has a status below zero

    def _hear(self, fact: dict[str, Any]) -> None:
        if "whole" in fact:
            self.run.whole.add(fact["whole"])
        else:
            save = Save(fact["begun"], fact["loss"], fact["files"])
            self.run.begun[save.step] = save

    def kill(self) -> None:
        self.process.kill()
        self._reader.join()


class Stage:
    """Everything that goes on; `counts` says how often."""

    def __init__(self, data: Path, state: Path, place: Path, seed: int) -> None:
        self.data, self.state = data, state
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.trainings: list[Training] = []
        self.runs: list[Run] = []
        self.open: list[tuple[int, Run, Path]] = []
        self.neighbour = threading.Thread()
        self.log = place / "log"
        self.config = place / "ckptd.toml"
        self.config.write_text(CONFIG.format(data=data))
        self.clock = place / "clock"
        self._set_clock(0)
        self.start()

    # --- ckptd ----------------------------------------------------------------------------------

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command("watch", "--json"), stderr=log, env=self._environment()
            )
        self.gauge = Gauge(self.process.pid)

    def command(self, *words: object) -> list[str]:
        options = ("--config", self.config, "--state", self.state)
        return [sys.executable, "-m", "ckptd", *map(str, (*words, *options))]

    def ask(self, *words: object) -> tuple[int, dict[str, object]]:
        """The status and the document of another command of ckptd beside it."""
        done = subprocess.run(
            self.command(*words, "--json"),
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
        )
        assert done.returncode >= 0, done.stderr  # else a signal ended it
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout or "{}")

    def _environment(self) -> dict[str, str]:
        told = os.environ | {"PYTHONFAULTHANDLER": "1"}
        if not FAKETIME.exists():
            return told
        return told | {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def _set_clock(self, offset: int) -> None:
        new = self.clock.with_suffix(".new")
        new.write_text(f"{offset:+d}s\n")
        new.rename(self.clock)

    # --- what happens ---------------------------------------------------------------------------

    def happen(self, *, kills: bool) -> None:
        """One thing at random."""
        acts = {
            self.train: 12,
            self.kill_training: 2,
            self.read: 5,
            self.pin: 2,
            self.unpin: 2,
            self.rename: 1,
            self.drop_in: 3,
            self.hang_up: 1,
            self.fill: 1,
            self.restore: 1,
            self.move_run: 1,
            self.look: 1,
            self.jump: 1,
            self.kill_ckptd: 1 if kills else 0,
        }
        act = self.chance.choices(list(acts), weights=list(acts.values()))[0]
        if act():
            self.counts[act.__name__] += 1

    def train(self) -> bool:
        live = [training for training in self.trainings if training.lives]
        if len(live) >= 3:
            return False
        idle = [run for run in self.runs if all(run is not training.run for training in live)]
        if len(self.runs) < MOST_RUNS:
            name = f"run-{len(self.runs)}"
            idle = [Run(self.data / name, firm=1 + len(self.runs) % 2)]
            self.runs += idle
        run = self.chance.choice(idle)
        died = lambda: self.counts.update(died_of_a_full_disk=1)  # noqa: E731
        self.trainings = [*live, Training(run, str(self.chance.random()), died)]
        return True

    def kill_training(self) -> bool:
        live = [training for training in self.trainings if training.lives]
        if live:
            self.chance.choice(live).kill()
        return bool(live)

    def read(self) -> bool:
        """Somebody opens one file of an older save, or closes one that is open."""
        if len(self.open) > 4:
            fd, run, place = self.open.pop(0)
            run.kept.pop(place, None)
            os.close(fd)
            return True
        run, save = self._older()
        if save is None:
            return False
        place = run.place(save.step)
        if place in run.kept:
            return False
        try:
            fd = os.open(place / "adapter_model.safetensors", os.O_RDONLY)
        except OSError:
            return False
        self.open.append((fd, run, place))
        run.wish(place, save)
        return True

    def pin(self) -> bool:
        run, save = self._older()
        if save is None or sum(len(r.kept) for r in self.runs) > 12:
            return False
        place = run.place(save.step)
        if place in run.kept:
            return False
        try:
            os.setxattr(place, "user.ckptd.pin", b"1")
        except OSError:
            return False
        run.wish(place, save)
        return True

    def unpin(self) -> bool:
        opened = [place for _, _, place in self.open]
        for run in self.runs:
            for place in [p for p in run.kept if p not in opened and p.name.startswith("check")]:
                del run.kept[place]
                with suppress(OSError):
                    os.removexattr(place, "user.ckptd.pin")
                return True
        return False

    def rename(self) -> bool:
        """A person keeps a save under a name of their own."""
        run, save = self._older()
        if save is None or self.counts["rename"] > 8 or run.place(save.step) in run.kept:
            return False
        place = run.path / f"mine-{save.step}"
        try:
            run.place(save.step).rename(place)
        except OSError:
            return False
        if save.is_whole(place):
            run.keep(place, save)
        return True

    def drop_in(self) -> bool:
        if not self.runs:
            return False
        run = self.chance.choice(self.runs)
        text = self.chance.choice([*DROP_INS, *(SEVERE if run.firm == 1 else ()), ""])
        return self._obey(run, text)

    def _obey(self, run: Run, text: str) -> bool:
        """Replaces the drop-in of *run*; an empty *text* takes it away."""
        path = run.path / ".ckptd.toml"
        try:
            if text:
                new = self.data / "new"
                new.write_text(text)
                new.rename(path)
            else:
                path.unlink(missing_ok=True)
        except OSError:  # a full disk, or no run yet
            return False
        return True

    def hang_up(self) -> bool:
        """Not before it waits for the signal, as a service manager does not before it is ready."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
        if ready := bool(blocked & 1 << signal.SIGHUP - 1):
            self.process.send_signal(signal.SIGHUP)
        return ready

    def fill(self) -> bool:
        if self.neighbour.is_alive():
            return False
        self.neighbour = threading.Thread(target=self._fill, args=(self.chance.uniform(1, 6),))
        self.neighbour.start()
        return True

    def _fill(self, seconds: float) -> None:
        """A neighbour fills the disk to its last byte, and clears up a little later."""
        place = self.data / "neighbour"
        block = bytes(2**18)
        until = time.monotonic() + seconds
        with suppress(OSError), place.open("wb", buffering=0) as file:
            while time.monotonic() < until:
                try:
                    file.write(block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                time.sleep(0.005)
        place.unlink(missing_ok=True)

    def restore(self) -> bool:
        _, document = self.ask("history", "--event", "evict")
        gone = [r for r in document.get("events", []) if r["outcome"] == "done"][-10:]
        if not gone:
            return False
        path = Path(self.chance.choice(gone)["checkpoint"])
        run = next((run for run in self.runs if run.path == path.parent), None)
        status, _ = self.ask("restore", path)
        if status == 0 and run is not None:
            run.wish(path, run.begun[int(path.name.partition("-")[2])])
        return status == 0

    def move_run(self) -> bool:
        """A person renames the directory of a run that nobody trains."""
        busy = [training.run for training in self.trainings if training.lives]
        idle = [r for r in self.runs if not any(r is b for b in busy) and r.whole]
        if not idle or self.counts["move_run"] > 3:
            return False
        run = self.chance.choice(idle)
        if any(open_run is run for _, open_run, _ in self.open):
            return False
        new = run.path.with_name(f"{run.path.name}-old")
        run.move(new)
        return True

    def look(self) -> bool:
        words = self.chance.choice([("status",), ("plan",), ("history",)])
        status, _ = self.ask(*words)
        assert status in (0, 4), (words, status)
        return True

    def jump(self) -> bool:
        if not FAKETIME.exists():
            return False
        self._set_clock(self.chance.choice([0, 0, 0, 0, 0, 90, -3600, 3 * DAY, -2 * DAY]))
        return True

    def kill_ckptd(self) -> bool:
        self.process.kill()
        self.process.wait()
        time.sleep(self.chance.uniform(0, 2))
        self.start()
        return True

    def _older(self) -> tuple[Run, Save | None]:
        """A whole save that neither is of the newest nor the best: one that may go."""
        run = self.chance.choice(self.runs) if self.runs else Run(self.data)
        there = run.there()
        best = min((s.loss for s in there.values()), default=0.0)
        may_go = [s for step, s in sorted(there.items())[: -run.firm] if s.loss > best]
        return run, self.chance.choice(may_go) if may_go else None

    # --- the end --------------------------------------------------------------------------------

    def rest(self) -> None:
        """Nobody trains, fills or reads any more, and the clock is right again."""
        self._clear_up()
        for training in self.trainings:
            training.kill()
        for fd, run, place in self.open:
            run.kept.pop(place, None)
            os.close(fd)
        self.open = []
        self._set_clock(0)
        for run in self.runs:
            (run.path / ".ckptd.toml").unlink(missing_ok=True)  # room for new ones
        for run in self.runs:
            if run.path.is_dir():
                self._obey(run, "[policy]\nkeep_last = 2\n")

    def _clear_up(self) -> None:
        if self.neighbour.is_alive():
            self.neighbour.join()

    def close(self) -> None:
        self._clear_up()
        for training in self.trainings:
            training.kill()
        self.process.kill()
        self.process.wait()
