r"""The JSON of `plan` and `apply` (DESIGN section 4), which users' scripts hold on to.

Bytes of a name that are no UTF-8 are `\xNN`; what is not finite is null; moments end in Z.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ckptd.model import (
    Outcome,
    Outlook,
    Plan,
    Reason,
    Relief,
    Run,
    RunPlan,
    TrashItem,
    Verdict,
    World,
)
from ckptd.units import show_text

VERSION: Final = 1
Document = dict[str, Any]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def dumps(document: Document, *, indent: int | None = 2) -> str:
    """The document as text: ASCII alone, so that no name in it can steer a terminal.

    Without *indent* it is one line.
    """
    return json.dumps(document, indent=indent, allow_nan=False)


def plan_json(plan: Plan, outcomes: Sequence[Outcome] | None = None) -> Document:
    """The document of a plan; with *outcomes*, that of what `apply` did."""
    document: Document = {
        "version": VERSION,
        "made_at": moment_text(plan.made_at),
        "filesystems": [_filesystem(relief) for relief in plan.filesystems],
        "runs": [_run(run_plan) for run_plan in plan.runs],
        "unreadable": [
            {"path": plain(each.path), "error": plain(each.error)} for each in plan.unreadable
        ],
        "reclaim_bytes": plan.reclaim_bytes,
    }
    if outcomes is not None:
        document["outcomes"] = [_outcome(outcome) for outcome in outcomes]
    return document


def report_json(plan: Plan, world: World) -> Document:
    """The document of what a ckptd sees: a plan, and what lies in the trash or stands aside."""
    strangers = [run_plan.run for run_plan in plan.runs if not run_plan.run.adopted]
    checkpoints = [checkpoint for run in strangers for checkpoint in run.checkpoints]
    return {
        **plan_json(plan),
        "frozen": [{"path": plain(f.path), "error": plain(f.error)} for f in world.frozen],
        "not_adopted": {
            "runs": len(strangers),
            "checkpoints": len(checkpoints),
            "bytes": sum(checkpoint.bytes for checkpoint in checkpoints),
        },
        "trash": _trash(world.trash),
    }


def _trash(items: Sequence[TrashItem]) -> Document:
    sizes: dict[str, list[int]] = {}
    for item in items:
        sizes.setdefault(plain(item.run), []).append(item.bytes)
    return {
        "items": len(items),
        "bytes": sum(item.bytes for item in items),
        "runs": [{"path": p, "items": len(s), "bytes": sum(s)} for p, s in sizes.items()],
    }


def event_json(event: Mapping[str, Any]) -> Document:
    """The document of one audit event."""
    return {key: plain(v) if isinstance(v, str) else v for key, v in event.items()}


def outlook_json(outlook: Outlook | None) -> Document | None:
    """When something would go, as a part of other documents: in how many seconds, and in words."""
    if outlook is None:
        return None
    return {"when_seconds": _finite(outlook.seconds), "text": plain(outlook.text)}


def verdict_json(verdict: Verdict) -> Document:
    """The document of one verdict: a checkpoint as in a plan."""
    return {"version": VERSION, **_checkpoint(verdict)}


def paths_json(word: str, paths: Sequence[str]) -> Document:
    """What was done (`pinned`, `adopted`, `restored`) to which paths."""
    return {"version": VERSION, word: [plain(path) for path in paths]}


def gone_json(path: str, event: str, reason: str) -> Document:
    """What became of a checkpoint that is neither in its run nor in the trash."""
    return {"version": VERSION, "path": plain(path), "event": event, "reason": plain(reason)}


def trash_json(item: TrashItem) -> Document:
    """The document of a checkpoint that lies in the trash."""
    return {
        "version": VERSION,
        "path": plain(item.path),
        "id": item.id,
        "step": item.step,
        "bytes": item.bytes,
        "saved_at": moment_text(item.saved_at),
        "trashed_at": moment_text(item.trashed_at),
        "action": str(item.action),
        "reason": plain(item.reason),
    }


def _filesystem(relief: Relief) -> Document:
    filesystem = relief.filesystem
    return {
        "path": plain(filesystem.path),
        "mount": plain(filesystem.mount),
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
        "spent_in_seconds": _finite(relief.spent_in_seconds),
        "limit": plain(filesystem.limit) or None,
        "inodes_demand": relief.inodes,
        "inodes_shortfall": relief.inodes_shortfall,
        "in_the_way": [
            {"path": plain(each.path), "bytes": each.bytes, "what": each.what}
            for each in relief.in_the_way
        ],
    }


def _run(run_plan: RunPlan) -> Document:
    run = run_plan.run
    return {
        "path": plain(run.path),
        "format": run.format,
        "adopted": run.adopted,
        "live": run.live,
        "finished": run.finished,
        "diverged": _diverged(run),
        "policy_from": [plain(source) for source in run.policy_from],
        "next_save_bytes": run.next_save_bytes,
        "save_interval_seconds": _finite(run.save_interval_seconds),
        "checkpoints": [_checkpoint(verdict) for verdict in run_plan.verdicts],
    }


def _diverged(run: Run) -> Document | None:
    """Since when, where the newest complete save shows it; null while that is not proven."""
    newest = run.complete[-1] if run.complete else None
    if newest is None or newest.divergence is None or not newest.diverged:
        return None
    lost = newest.divergence
    return {"what": plain(lost.what), "value": lost.value, "since": lost.since}


def _checkpoint(verdict: Verdict) -> Document:
    checkpoint = verdict.checkpoint
    return {
        "path": plain(checkpoint.path),
        "step": checkpoint.step,
        "bytes": checkpoint.bytes,
        "saved_at": moment_text(checkpoint.saved_at),
        "health": str(checkpoint.health),
        "evidence": plain(checkpoint.evidence),
        "standing": str(verdict.standing),
        "action": str(verdict.action),
        "metrics": {plain(name): _finite(value) for name, value in checkpoint.metrics.items()},
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
    return document | {"text": plain(reason.text)}


def _outcome(outcome: Outcome) -> Document:
    return {
        "path": plain(outcome.action.path),
        "action": str(outcome.action.kind),
        "ok": outcome.ok,
        "freed_bytes": outcome.freed_bytes,
        "error": None if outcome.error is None else plain(outcome.error),
    }


def moment_text(at: datetime) -> str:
    """A moment as every document has it: `2026-01-02T03:04:05Z`."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def plain(text: str) -> str:
    """*text* for a document: without surrogates; json itself escapes control characters."""
    return _SURROGATE.sub(lambda found: show_text(found[0]), text)
