"""Sets the stage in a temporary directory, runs the real commands on it, shows the end state."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Final

from ckptd.units import show_bytes

OPENING: Final = """\
A small training saves every few seconds and sets no limit of its own:

  $ ckptd exec --keep-last 2 -- python train.py --output_dir out

Kept are the newest two and the best. The last save is cut off in the middle, as by a crash.
"""
ENDING: Final = """
What is left, and why (`ckptd plan --keep-last 2 out`):
"""
UNDO: Final = """\
Let go of does not mean gone: `ckptd restore out/checkpoint-50` brings it back for an hour.
"""


def play() -> int:
    """Plays the demo; returns its exit status. Takes about half a minute and 60 MiB."""
    with tempfile.TemporaryDirectory(prefix="ckptd-demo-") as stage:
        out = os.path.join(stage, "out")
        print(OPENING, flush=True)
        training = [sys.executable, "-m", "ckptd.demo.writer", out]
        # The place may be fuller than the default mark: this is about the policy, not the disk.
        policy = ["--keep-last", "2", "--high", "99%", "--low", "98%", "--hard", "100%"]
        status = _ckptd(stage, "exec", *policy, out, "--", *training)
        print(ENDING, flush=True)
        status = _ckptd(stage, "plan", *policy, out) or status
        print(f"\n{show_bytes(_size(out))} in {out}; without ckptd it would be {_without()}.")
        print(UNDO)
        return status


def _ckptd(stage: str, command: str, *arguments: str) -> int:
    state = ["--state", os.path.join(stage, "state")]
    return subprocess.call([sys.executable, "-m", "ckptd", command, *state, *arguments])


def _size(directory: str) -> int:
    return sum(
        os.lstat(os.path.join(path, name)).st_blocks * 512
        for path, _, names in os.walk(directory)
        for name in names
    )


def _without() -> str:
    from ckptd.demo.writer import LOSSES, WEIGHTS

    return show_bytes(len(LOSSES) * 3 * WEIGHTS + WEIGHTS // 3)
