"""Writes checkpoints as a Trainer does: real containers, in its order, the marker last."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path


def safetensors(size: int = 4096, tensors: int = 4) -> bytes:
    """A whole safetensors file whose tensors hold *size* bytes together."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    edges = [size * n // tensors for n in range(tensors + 1)]
    for n, (begin, end) in enumerate(pairwise(edges)):
        header[f"layers.{n}.weight"] = {
            "dtype": "U8",
            "shape": [end - begin],
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + (bytes(range(251)) * (size // 251 + 1))[:size]


def torch_zip(value: object, storage: int = 0, name: str = "archive") -> bytes:
    """A whole torch archive: *value* as its data.pkl and one storage of *storage* bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{name}/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr(f"{name}/byteorder", "little")
        if storage:
            archive.writestr(f"{name}/data/0", bytes(storage))
        archive.writestr(f"{name}/version", "3\n")
    return buffer.getvalue()


def trainer_state(
    run_dir: str,
    step: int,
    *,
    history: Mapping[int, float] | None = None,
    best: int | None = None,
) -> bytes:
    """A trainer_state.json at *step*; *history* maps steps to their eval_loss."""
    evals = {s: loss for s, loss in sorted((history or {}).items()) if s <= step}
    logs: list[dict[str, float]] = []
    for at in sorted({*evals, step}):
        logs.append({"epoch": at / 100, "grad_norm": 1.0, "loss": 2.0 / (1 + at), "step": at})
        if at in evals:
            logs.append({"epoch": at / 100, "eval_loss": evals[at], "step": at})
    state = {
        "best_global_step": best,
        "best_metric": evals.get(best) if best is not None else None,
        "best_model_checkpoint": None if best is None else f"{run_dir}/checkpoint-{best}",
        "epoch": step / 100,
        "global_step": step,
        "log_history": logs,
        "max_steps": 100_000,
        "save_steps": 5,
    }
    return json.dumps(state, indent=2, sort_keys=True).encode() + b"\n"


def checkpoint_files(
    run_dir: str,
    step: int,
    *,
    eval_loss: float | None = None,
    best: int | None = None,
    history: Mapping[int, float] | None = None,
    size: int = 4096,
    optimizer: bool = True,
    limit: int | None = None,
    state: bool = True,
) -> dict[str, bytes]:
    """Names and bytes of one adapter checkpoint, in the order in which a Trainer writes them."""
    evals = dict(history or {}) | ({} if eval_loss is None else {step: eval_loss})
    files = {
        "README.md": b"# adapter\n",
        "adapter_model.safetensors": safetensors(size),
        "adapter_config.json": b'{"peft_type": "LORA", "r": 8}\n',
        "tokenizer_config.json": b"{}\n",
        "training_args.bin": torch_zip({"save_steps": 5, "save_total_limit": limit, "seed": 42}),
    }
    if optimizer:
        files["optimizer.pt"] = torch_zip({"state": {}}, storage=2 * size, name="optimizer")
        files["scheduler.pt"] = torch_zip({"last_epoch": step}, name="scheduler")
        files["rng_state.pth"] = torch_zip({"python": 1}, storage=512, name="rng_state")
    if state:
        files["trainer_state.json"] = trainer_state(run_dir, step, history=evals, best=best)
    return files


def write_checkpoint(
    run_dir: Path,
    step: int,
    *,
    eval_loss: float | None = None,
    best: int | None = None,
    history: Mapping[int, float] | None = None,
    size: int = 4096,
    optimizer: bool = True,
    limit: int | None = None,
    state: bool = True,
    mtime: float | None = None,
) -> Path:
    """Writes `run_dir/checkpoint-<step>` and returns it.

    *eval_loss* is this step's, *history* that of earlier steps; *best* is the step that the state
    names as best; *size* are the bytes of the weights; *limit* is save_total_limit; without
    *state* there is no marker. *mtime* (seconds since 1970) becomes the time of every file.
    """
    place = run_dir / f"checkpoint-{step}"
    place.mkdir(parents=True)
    files = checkpoint_files(
        str(run_dir),
        step,
        eval_loss=eval_loss,
        best=best,
        history=history,
        size=size,
        optimizer=optimizer,
        limit=limit,
        state=state,
    )
    for name, content in files.items():
        (place / name).write_bytes(content)
    if mtime is not None:
        set_times(place, mtime)
    return place


def set_times(place: Path, mtime: float) -> None:
    """Gives everything in the directory *place*, and itself, the time *mtime*."""
    for path in (*place.rglob("*"), place):
        os.utime(path, (mtime, mtime))


def cut(path: Path, count: int = 1) -> None:
    """Takes the last *count* bytes off a file and leaves its times as they were."""
    seen = path.stat()
    os.truncate(path, max(0, seen.st_size - count))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
