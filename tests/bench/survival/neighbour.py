"""Fills a disk beside the trainings, at a bounded rate and up to a bound.

Run as a process of its own: `neighbour.py DIRECTORY --bytes N --rate N --log FILE`.
"""

from __future__ import annotations

import argparse
import errno
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
from bench.survival.diary import Diary

CHUNK = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    options.directory.mkdir(parents=True)
    diary = Diary(options.log)
    content = bytes(CHUNK)
    begun = time.monotonic()
    for number in range(options.bytes // CHUNK):
        while not written(options.directory / f"data-{number}", content):
            time.sleep(0.5)  # it waits until there is room: another's training is not its matter
        diary.note("filled", bytes=(number + 1) * CHUNK)
        time.sleep(max(0.0, begun + (number + 1) * CHUNK / options.rate - time.monotonic()))


def written(path: Path, content: bytes) -> bool:
    try:
        path.write_bytes(content)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        path.unlink(missing_ok=True)
        return False
    return True


if __name__ == "__main__":
    main()
