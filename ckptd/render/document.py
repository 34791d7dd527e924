r"""The JSON of `plan` and `apply` (DESIGN section 4), which users' scripts hold on to.

Bytes of a name that are no UTF-8 are `\xNN`; what is not finite is null; moments end in Z.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ckptd.model import Outcome, Plan, Reason, Relief, RunPlan, TrashItem, Verdict
from ckptd.units import show_text

VERSION: Final = 1
Document = dict[str, Any]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def dumps(document: Document) -> str:
    """The document as text: ASCII alone, so that no name in it can steer a terminal."""
    return json.dumps(document, indent=2, allow_nan=False)


def plan_json(plan: Plan, outcomes: Sequence[Outcome] | None = None) -> Document:
    """The document of a plan; with *outcomes*, that of what `apply` did."""
    document: Document = {
        "version": VERSION,
        "made_at": _moment(plan.made_at),
        "filesystems": [_filesystem(relief) for relief in plan.filesystems],
        "runs": [_run(run_plan) for run_plan in plan.runs],
        "unreadable": [
            {"path": _text(each.path), "error": _text(each.error)} for each in plan.unreadable
        ],
        "reclaim_bytes": plan.reclaim_bytes,
    }
    if outcomes is not None:
        document["outcomes"] = [_outcome(outcome) for outcome in outcomes]
    return document


def verdict_json(verdict: Verdict) -> Document:
    """The document of one verdict: a checkpoint as in a plan."""
    return {"version": VERSION, **_checkpoint(verdict)}


def paths_json(word: str, paths: Sequence[str]) -> Document:
    """What was done (`pinned`, `adopted`, `restored`) to which paths."""
    return {"version": VERSION, word: [_text(path) for path in paths]}


def gone_json(path: str, event: str, reason: str) -> Document:
    """What became of a checkpoint that is neither in its run nor in the trash."""
    return {"version": VERSION, "path": _text(path), "event": event, "reason": _text(reason)}


def trash_json(item: TrashItem) -> Document:
    """The document of a checkpoint that lies in the trash."""
    return {
        "version": VERSION,
        "path": _text(item.path),
        "id": item.id,
        "step": item.step,
        "bytes": item.bytes,
        "saved_at": _moment(item.saved_at),
        "trashed_at": _moment(item.trashed_at),
        "action": str(item.action),
        "reason": _text(item.reason),
    }


def _filesystem(relief: Relief) -> Document:
    filesystem = relief.filesystem
    return {
        "path": _text(filesystem.path),
        "mount": _text(filesystem.mount),
        "fstype": filesystem.fstype,
        "total": filesystem.total,
        "free": filesystem.free,
        "used_percent": round(filesystem.used_percent, 2),
        "inodes_free": filesystem.inodes_free,
        "state": relief.state,
        "demand": relief.demand,
        "reserve": relief.reserve,
        "shortfall": relief.shortfall,
        "full_in_seconds": _finite(relief.full_in_seconds),
    }


def _run(run_plan: RunPlan) -> Document:
    run = run_plan.run
    return {
        "path": _text(run.path),
        "format": run.format,
        "adopted": run.adopted,
        "live": run.live,
        "finished": run.finished,
        "policy_from": [_text(source) for source in run.policy_from],
        "next_save_bytes": run.next_save_bytes,
        "save_interval_seconds": _finite(run.save_interval_seconds),
        "checkpoints": [_checkpoint(verdict) for verdict in run_plan.verdicts],
    }


def _checkpoint(verdict: Verdict) -> Document:
    checkpoint = verdict.checkpoint
    return {
        "path": _text(checkpoint.path),
        "step": checkpoint.step,
        "bytes": checkpoint.bytes,
        "saved_at": _moment(checkpoint.saved_at),
        "health": str(checkpoint.health),
        "evidence": _text(checkpoint.evidence),
        "standing": str(verdict.standing),
        "action": str(verdict.action),
        "metrics": {_text(name): _finite(value) for name, value in checkpoint.metrics.items()},
        "pinned": checkpoint.pinned or any(r.rule == "pinned" for r in verdict.reasons),
        "slim": checkpoint.slim,
        "reasons": [_reason(reason) for reason in verdict.reasons],
    }


def _reason(reason: Reason) -> Document:
    document: Document = {"rule": reason.rule, "keeps": reason.keeps}
    if reason.rank is not None:
        document["rank"] = reason.rank
    if reason.limit is not None:
        document["limit"] = reason.limit
    return document | {"text": _text(reason.text)}


def _outcome(outcome: Outcome) -> Document:
    return {
        "path": _text(outcome.action.path),
        "action": str(outcome.action.kind),
        "ok": outcome.ok,
        "freed_bytes": outcome.freed_bytes,
        "error": None if outcome.error is None else _text(outcome.error),
    }


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _text(text: str) -> str:
    """*text* without surrogates; json itself escapes control characters."""
    return _SURROGATE.sub(lambda found: show_text(found[0]), text)
