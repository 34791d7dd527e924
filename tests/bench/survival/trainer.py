"""A training without the training: computes (sleeps), saves as a Hugging Face Trainer does, in
its order and its containers, at the pace of a real disk; rotates only after a save; dies of a
full one and leaves what it had written.

Run as a process of its own: `trainer.py RUN --saves FILE --log FILE ...`. The log has one JSON
object a line; `at` is CLOCK_MONOTONIC in seconds. Of a save it is the moment before the last
close: nobody can know earlier that it is whole.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))
from bench.survival.cast import STEPS, Save
from bench.survival.diary import Diary
from corpus import safetensors, torch_zip, trainer_state

CHUNK = 2**20
FULL = {errno.ENOSPC, errno.EDQUOT}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--saves", type=Path, required=True, help="JSON: a list of saves")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--rate", type=int, required=True, help="bytes per second")
    parser.add_argument("--starts", type=float, default=0.0, help="seconds to wait first")
    parser.add_argument("--limit", type=int, help="save_total_limit")
    parser.add_argument("--stubborn", action="store_true", help="goes on after a full disk")
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--frozen", type=int, default=0, help="bytes that each save links")
    options = parser.parse_args()
    saves = [Save(**save) for save in json.loads(options.saves.read_text())]
    pen = Pen(options.rate, options.fsync)
    frozen = freeze(options.run, options.frozen) if options.frozen else None
    trainer = Trainer(options.run, Diary(options.log), pen, options.limit, frozen)
    time.sleep(options.starts)
    return trainer.train(saves, stubborn=options.stubborn)


@dataclass
class Pen:
    """Writes files no faster than `rate` bytes per second."""

    rate: int
    fsync: bool = False
    closing: float = 0.0  # the moment before the last close

    def write(self, path: Path, content: bytes, *, as_: Path | None = None) -> None:
        """*content* into *path*, which gets the name *as_* before it is closed."""
        begun, view = time.monotonic(), memoryview(content)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            done = 0
            while done < len(view):
                done += os.write(file, view[done : done + CHUNK])
                time.sleep(max(0.0, begun + done / self.rate - time.monotonic()))
            if self.fsync:
                os.fsync(file)
            if as_:
                os.rename(path, as_)
            self.closing = time.monotonic()
        finally:
            os.close(file)


@dataclass
class Trainer:
    run: Path
    diary: Diary
    pen: Pen
    limit: int | None = None
    frozen: Path | None = None
    losses: dict[int, float] = field(default_factory=dict)

    @property
    def best(self) -> int:
        return min(self.losses, key=lambda step: self.losses[step])

    def train(self, saves: list[Save], *, stubborn: bool) -> int:
        """1 when it died of a full disk."""
        for number, save in enumerate(saves, start=1):
            time.sleep(save.after)
            step = STEPS * number
            self.losses[step] = save.loss
            try:
                self._save(step, save)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self.diary.note("enospc", step=step, error=str(error))
                if not stubborn:
                    return 1
            else:
                self._rotate()
        return 0

    def _save(self, step: int, save: Save) -> None:
        self.diary.note("begun", step=step)
        place = self.run / f"checkpoint-{step}"
        place.mkdir(parents=True)
        if self.frozen:
            os.link(self.frozen, place / "frozen.safetensors")
        for name, content in self._files(step, save):
            if name.endswith(".safetensors"):
                self._write_by_temporary(place, name, content)
            else:
                self.pen.write(place / name, content)
        self.diary.note("saved", at=self.pen.closing, step=step, loss=save.loss, **taken(place))

    def _write_by_temporary(self, place: Path, name: str, content: bytes) -> None:
        """As safetensors 0.8: renamed while still open, and removed when it fails."""
        temporary = place / f".tmp{os.urandom(3).hex()}"
        try:
            self.pen.write(temporary, content, as_=place / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _files(self, step: int, save: Save) -> Iterator[tuple[str, bytes]]:
        yield ("adapter_config.json" if save.lora else "config.json"), b"{}\n"
        yield from weights(save)
        yield "training_args.bin", torch_zip({"save_total_limit": self.limit})
        storage = save.bytes - save.bytes // 3
        yield "optimizer.pt", torch_zip({"state": {}}, storage=storage, name="optimizer")
        yield "scheduler.pt", torch_zip({"last_epoch": step}, name="scheduler")
        yield "rng_state.pth", torch_zip({"python": 1}, storage=512, name="rng_state")
        state = trainer_state(str(self.run), step, history=self.losses, best=self.best)
        yield "trainer_state.json", state

    def _rotate(self) -> None:
        """As `transformers.trainer_utils.rotate_checkpoints` with use_mtime, of 5.24."""
        if self.limit is None:
            return
        lying = sorted(self.run.glob("checkpoint-*"), key=lambda place: place.stat().st_mtime)
        protected = {lying[-1], self.run / f"checkpoint-{self.best}"}
        remaining = len(lying)
        for place in lying:
            if remaining <= max(self.limit, len(protected)):
                return
            if place not in protected:
                shutil.rmtree(place, ignore_errors=True)
                remaining -= 1


def weights(save: Save) -> Iterator[tuple[str, bytes]]:
    """Their files: one, or shards and then their index."""
    size = save.bytes // 3
    if save.shards == 1:
        name = "adapter_model" if save.lora else "model"
        yield f"{name}.safetensors", safetensors(size)
        return
    one = safetensors(size // save.shards, tensors=1)
    names = [f"model-{n:05}-of-{save.shards:05}.safetensors" for n in range(1, save.shards + 1)]
    yield from ((name, one) for name in names)
    index = {"metadata": {"total_size": size}, "weight_map": dict(zip(names, names, strict=True))}
    yield "model.safetensors.index.json", json.dumps(index).encode()


def freeze(run: Path, size: int) -> Path:
    """The weights that are not trained, beside *run*."""
    place = run.with_name(f"frozen-{run.name}")
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(safetensors(size))
    return place / "model.safetensors"


def taken(place: Path) -> dict[str, Any]:
    """What a save takes of its disk; what it links was there before."""
    own = [stat for path in place.iterdir() if (stat := path.stat()).st_nlink == 1]
    lying = [place.stat(), *own]
    return {"bytes": 512 * sum(stat.st_blocks for stat in lying), "inodes": len(lying)}


if __name__ == "__main__":
    sys.exit(main())
