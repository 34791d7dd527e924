"""A plan in one line, as `systemctl status` shows it."""

from __future__ import annotations

from typing import Final

from ckptd.model import Plan
from ckptd.render.wording import counted
from ckptd.units import show_bytes, show_text

_MOST: Final = 3  # filesystems that one line names


def plan_line(plan: Plan, last: str = "") -> str:
    """`2 runs, 14 checkpoints, 71.2 GiB; /data 71 % used; last: evict checkpoint-50`."""
    count = sum(len(run_plan.verdicts) for run_plan in plan.runs)
    size = sum(verdict.checkpoint.bytes for verdict in plan.verdicts)
    said = [f"{counted(len(plan.runs), 'run')}, {counted(count, 'checkpoint')}, {show_bytes(size)}"]
    said += [
        f"{show_text(need.filesystem.path)} {need.filesystem.used_percent:.0f} % used"
        for need in plan.filesystems[:_MOST]
    ]
    return "; ".join([*said, f"last: {last}"] if last else said)
