"""Writes checkpoints as a Trainer does and says when each was closed: `step moment`.

The moment is CLOCK_MONOTONIC in nanoseconds, read right before the last close(2): a verdict
before it came too early, and no watcher can be faster than it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from corpus import checkpoint_files


def main() -> None:
    run, count, pause, size = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    for step in range(1, count + 1):
        files = checkpoint_files(str(run), step, eval_loss=1 / step, size=int(size))
        place = run / f"checkpoint-{step}"
        place.mkdir()
        closed = [written(place / name, content) for name, content in files.items()]
        print(step, closed[-1], flush=True)
        time.sleep(pause)


def written(path: Path, content: bytes) -> int:
    """Writes *content* in two halves, with a breath between; the moment before the close."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    half = len(content) // 2
    os.write(file, content[:half])
    time.sleep(0.002)
    os.write(file, content[half:])
    closing = time.monotonic_ns()
    os.close(file)
    return closing


if __name__ == "__main__":
    main()
