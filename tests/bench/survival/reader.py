"""Opens the largest file of a checkpoint and holds it, as an evaluation or a copy does.

Run as a process of its own: `reader.py RUNS --log FILE --checkpoint RUN/checkpoint-N`, or
`--trash` for the first thing that lies in a trash below RUNS. Holds it until it is killed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
from bench.survival.diary import Diary

EVERY = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--log", type=Path, required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--checkpoint", help="below RUNS")
    what.add_argument("--trash", action="store_true")
    options = parser.parse_args()
    while True:
        places = thrown_away(options.runs) if options.trash else whole(options.runs, options)
        for place in places:
            if held := hold(place):
                Diary(options.log).note("held", checkpoint=options.checkpoint, bytes=held)
                time.sleep(3600)
        time.sleep(EVERY)


def whole(runs: Path, options: argparse.Namespace) -> Iterator[Path]:
    place = runs / options.checkpoint
    if (place / "trainer_state.json").exists():
        yield place


def thrown_away(runs: Path) -> Iterator[Path]:
    return (place for place in runs.glob("**/.ckptd-trash/*/*") if place.is_dir())


def hold(place: Path) -> int:
    """Bytes that the opened file takes; 0 when it was gone before it was open."""
    try:
        largest = max(place.iterdir(), key=lambda path: path.stat().st_size)
        return 512 * os.fstat(os.open(largest, os.O_RDONLY)).st_blocks
    except (OSError, ValueError):
        return 0


if __name__ == "__main__":
    main()
