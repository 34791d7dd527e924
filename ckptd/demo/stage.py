"""Sets the stage in a temporary directory, runs the real commands on it, shows the end state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

from ckptd.units import show_bytes

OPENING: Final = """\
A small training saves every few seconds and sets no limit of its own:

  $ ckptd exec --keep-last 2 -- python train.py --output_dir out

Kept are the newest two and the best. The last save is cut off in the middle, as by a crash.
"""
ENDING: Final = """
What is left, and why:

  $ ckptd plan --keep-last 2 out
"""
UNDO: Final = """\
What was let go of is not gone yet: `ckptd restore out/checkpoint-50` brings it back for an hour.
"""
# The place may be fuller than the default mark; this shows a policy, not pressure.
POLICY: Final = ("--keep-last", "2", "--high", "99%", "--low", "98%", "--hard", "100%")


def play() -> int:
    """Plays the demo; returns its exit status. Takes half a minute and 60 MiB."""
    with tempfile.TemporaryDirectory(prefix="ckptd-demo-") as stage:
        out = os.path.join(stage, "out")
        print(OPENING, flush=True)
        status = _watched(stage, out)
        print(ENDING, flush=True)
        status = subprocess.call(_ckptd(stage, "plan", out)) or status
        print(f"\n{show_bytes(_size(out))} in out; without ckptd it would be {_without()}.")
        print(UNDO)
        return status


def _watched(stage: str, out: str) -> int:
    """The training under `ckptd exec`, whose records are shown as sentences, live."""
    training = [sys.executable, "-m", "ckptd.demo.writer", out]
    command = [*_ckptd(stage, "exec", "--json", out), "--", *training]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        for line in child.stderr or ():
            print(_sentence(line), flush=True)
    return child.returncode


def _sentence(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line.rstrip()
    return f"{record['at'][11:19]}  {record['message']}"


def _ckptd(stage: str, command: str, *arguments: str) -> Sequence[str]:
    state = ["--state", os.path.join(stage, "state")]
    return [sys.executable, "-m", "ckptd", command, *state, *POLICY, *arguments]


def _size(directory: str) -> int:
    return sum(
        os.lstat(os.path.join(path, name)).st_blocks * 512
        for path, _, names in os.walk(directory)
        for name in names
    )


def _without() -> str:
    from ckptd.demo.writer import LOSSES, WEIGHTS

    return show_bytes(len(LOSSES) * 3 * WEIGHTS + WEIGHTS // 3)
