"""A report cut down to what a PATH asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ckptd import render
from ckptd.render import Document, Report
from ckptd.status.users import upwards


def narrow(report: Report, paths: Sequence[str]) -> Report | None:
    """*report* with the runs at, below or around one of the real *paths*; all of it without any.

    None when its daemon looks after nothing there.
    """
    if not paths:
        return report
    asked = [render.plain(path) for path in paths]
    document = dict(report.document)
    runs = [run for run in document["runs"] if _touches(run["path"], asked)]
    watched = report.teller is not None and any(_touches(w, asked) for w in report.teller.watches)
    if not runs and not watched:
        return None
    return render.report_of(document | _parts(document, runs, asked))


def _parts(document: Document, runs: list[Document], asked: Sequence[str]) -> Document:
    mounts = {fs["mount"] for fs in document["filesystems"]}
    needed = {_mount_of(path, mounts) for path in (*asked, *(run["path"] for run in runs))}
    strangers = [run for run in runs if not run["adopted"]]
    trash = [run for run in document["trash"]["runs"] if _touches(run["path"], asked)]
    return {
        "filesystems": [fs for fs in document["filesystems"] if fs["mount"] in needed],
        "runs": runs,
        "unreadable": [lost for lost in document["unreadable"] if _touches(lost["path"], asked)],
        "frozen": [drop for drop in document["frozen"] if _touches(drop["path"], asked)],
        "reclaim_bytes": _sum(c for c in _checkpoints(runs) if c["action"] != "keep"),
        "not_adopted": {
            "runs": len(strangers),
            "checkpoints": len(_checkpoints(strangers)),
            "bytes": _sum(_checkpoints(strangers)),
        },
        "trash": {
            "items": sum(run["items"] for run in trash),
            "bytes": _sum(trash),
            "runs": trash,
        },
        "events": [
            event
            for event in document.get("events", [])
            if _touches(event.get("run") or event.get("checkpoint") or "", asked)
        ],
    }


def _touches(path: str, asked: Sequence[str]) -> bool:
    """Whether *path* is one of those *asked* for, lies below one, or holds one."""
    above = {*upwards(path)}
    return any(each in above or path in {*upwards(each)} for each in asked)


def _mount_of(path: str, mounts: Iterable[str]) -> str:
    return max((m for m in mounts if m in {*upwards(path)}), key=len, default="")


def _checkpoints(runs: Sequence[Document]) -> list[Document]:
    return [checkpoint for run in runs for checkpoint in run["checkpoints"]]


def _sum(sized: Iterable[Any]) -> int:
    return sum(each["bytes"] for each in sized)
