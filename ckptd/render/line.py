"""A plan in one line, as `systemctl status` shows it."""

from __future__ import annotations

from typing import Final

from ckptd.model import Plan, Relief
from ckptd.render.wording import counted
from ckptd.units import show_bytes, show_duration, show_text

_MOST: Final = 3  # filesystems that one line names


def plan_line(plan: Plan, last: str = "") -> str:
    """`2 runs, 14 checkpoints, 71.2 GiB; /data 71 % used, full in 5 h if nothing goes; last: …`."""
    count = sum(len(run_plan.verdicts) for run_plan in plan.runs)
    size = sum(verdict.checkpoint.bytes for verdict in plan.verdicts)
    said = [f"{counted(len(plan.runs), 'run')}, {counted(count, 'checkpoint')}, {show_bytes(size)}"]
    said += [_disk(need) for need in plan.filesystems[:_MOST]]
    return "; ".join([*said, f"last: {last}"] if last else said)


def _disk(need: Relief) -> str:
    filesystem = need.filesystem
    used = f"{show_text(filesystem.path)} {filesystem.used_percent:.0f} % used"
    if need.full_in_seconds is None:
        return used
    return f"{used}, full in {show_duration(need.full_in_seconds)} if nothing goes"
