"""A training without the training: writes what a Hugging Face Trainer writes, in its order.

Run as a process of its own: `python -m ckptd.demo.writer DIRECTORY`. Real safetensors files, a
real (if empty) torch zip for the optimizer, trainer_state.json last. The last save is cut off,
as when a job is killed while it saves.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
import zipfile
from typing import Final

# Evaluation losses by step: the best lies in the middle, as it does.
LOSSES: Final = {50: 1.91, 100: 1.42, 150: 1.17, 200: 1.05, 250: 1.11, 300: 1.19, 350: 1.26}
CUT_AT: Final = 400
WEIGHTS: Final = 4 * 2**20
SECONDS_BETWEEN: Final = 2.8


def train(directory: str) -> None:
    """Writes one checkpoint after the other into *directory*, then dies in the middle of one."""
    for step in LOSSES:
        time.sleep(SECONDS_BETWEEN)
        save(os.path.join(directory, f"checkpoint-{step}"), step)
    time.sleep(SECONDS_BETWEEN)
    broken = os.path.join(directory, f"checkpoint-{CUT_AT}")
    os.makedirs(broken)
    write(os.path.join(broken, "model.safetensors"), safetensors(WEIGHTS)[: WEIGHTS // 3])


def save(path: str, step: int) -> None:
    """One checkpoint: weights, optimizer, then the state that says it is whole."""
    os.makedirs(path)
    write(os.path.join(path, "config.json"), b"{}")
    write(os.path.join(path, "model.safetensors"), safetensors(WEIGHTS))
    with zipfile.ZipFile(os.path.join(path, "optimizer.pt"), "w") as archive:
        archive.writestr("optimizer/data.pkl", bytes(2 * WEIGHTS))
    write(os.path.join(path, "trainer_state.json"), json.dumps(state(step)).encode())


def state(step: int) -> dict[str, object]:
    """What trainer_state.json holds at *step*."""
    seen = {at: loss for at, loss in LOSSES.items() if at <= step}
    best = min(seen, key=lambda at: seen[at])
    return {
        "global_step": step,
        "best_global_step": best,
        "best_metric": seen[best],
        "best_model_checkpoint": f"checkpoint-{best}",
        "log_history": [{"step": at, "eval_loss": loss} for at, loss in seen.items()],
    }


def safetensors(size: int) -> bytes:
    """A safetensors file with one tensor of *size* bytes (format: huggingface/safetensors)."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + os.urandom(size)


def write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


if __name__ == "__main__":
    train(sys.argv[1])
