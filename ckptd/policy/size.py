"""`max_size`: what the checkpoints of one run may hold together. Pure."""

from __future__ import annotations

from dataclasses import replace

from ckptd.model import ActionKind, Reason, RunPlan
from ckptd.policy.links import Holding
from ckptd.policy.relief import Candidate, ranked
from ckptd.units import show_bytes


def fit(run_plan: RunPlan, max_size: int | None) -> RunPlan:
    """*run_plan* with so many soft ones let go that the rest holds at most *max_size* bytes.

    By rank, as on a disk that is full. What is firm or held stays, though it be larger.
    """
    if max_size is None or kept_bytes(run_plan) <= max_size:
        return run_plan
    gone: dict[str, Reason] = {}
    held = _held(run_plan)
    for candidate in ranked([run_plan]):
        gone[candidate.checkpoint.name] = _reason(candidate, len(gone) + 1, held.bytes, max_size)
        held.drop(candidate.checkpoint)
        if held.bytes <= max_size:
            break
    verdicts = tuple(
        replace(v, action=ActionKind.EVICT, reasons=(reason, *v.reasons))
        if (reason := gone.get(v.checkpoint.name))
        else v
        for v in run_plan.verdicts
    )
    return replace(run_plan, verdicts=verdicts, beyond_max_size=max(0, held.bytes - max_size))


def kept_bytes(run_plan: RunPlan) -> int:
    """Bytes of the checkpoints that stay."""
    return _held(run_plan).bytes


def _held(run_plan: RunPlan) -> Holding:
    kept = (v.checkpoint for v in run_plan.verdicts if v.action is ActionKind.KEEP)
    return Holding(kept)


def _reason(candidate: Candidate, rank: int, held: int, max_size: int) -> Reason:
    text = (
        f"its run holds {show_bytes(held)}, and max_size is {show_bytes(max_size)};"
        f" {candidate.cost}"
    )
    return Reason("max_size", False, text, rank)
