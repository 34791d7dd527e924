"""Processes that end with this one, whatever happens to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def started(
    command: Sequence[object], told: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """*command* until the block is left; both its outputs go to the file *told*.

    The kernel kills it as well when the thread that started it ends without leaving the block.
    """
    words = ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]
    with open(told, "ab") as out:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
