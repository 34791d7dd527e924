"""`why`: the verdict on one checkpoint, by whoever looks after it, or what became of it.

Users of a service of root see on its board what it thinks of their checkpoints and did to them:
its policy may be another than theirs, and its ledger is root's alone. Root believes no board, on
which users write as well.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ckptd import audit, mounts, render, status
from ckptd.cli import ledgers
from ckptd.cli.once import named_checkpoint, planned
from ckptd.cli.start import reading, settings_of
from ckptd.config import Settings, Watch
from ckptd.errors import CkptdError, ConfigError
from ckptd.ledger import ACTS, LedgerView
from ckptd.model import Outlook, Plan, RunPlan, TrashItem, Verdict
from ckptd.observe import Look
from ckptd.observe.watches import is_below
from ckptd.policy import outlook, outlook_of_trash
from ckptd.render import Document, Report
from ckptd.units import show_text


def why(arguments: argparse.Namespace) -> int:
    """`ckptd why PATH`: 0, or 1 when nothing is known of PATH."""
    if len(arguments.paths) != 1:
        raise ConfigError("why takes one checkpoint at a time")
    path = named_checkpoint(arguments.paths[0])
    settings = settings_of(arguments, [os.path.dirname(path)])
    asked = _Asked(path, settings, _reports(arguments), arguments)
    print(_told(asked) or _seen(asked))
    return 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question: about which checkpoint, under which settings, and what running ckptds show."""

    path: str
    settings: Settings
    reports: Sequence[Report]
    arguments: argparse.Namespace


def _reports(arguments: argparse.Namespace) -> tuple[Report, ...]:
    return () if os.geteuid() == 0 else status.read(arguments.state).reports


# --- what a running ckptd thinks of it ---------------------------------------------------


def _told(asked: _Asked) -> str | None:
    """The verdict of a running ckptd, unless this is about another configuration than its own."""
    options = vars(asked.arguments).items()
    if asked.arguments.config or any(k.startswith("option:") and v for k, v in options):
        return None
    if not _is_there(asked.path):  # its board may be a second old
        return None
    for report in asked.reports:
        for verdict in _verdicts(report, asked.path):
            return _told_text(verdict, report, asked)
        if report.teller and any(is_below(asked.path, watch) for watch in report.teller.watches):
            note = "has not seen it yet, so this is what the command sees by itself"
            print(f"ckptd: the running ckptd (pid {report.teller.pid}) {note}", file=sys.stderr)
    return None


def _is_there(path: str) -> bool:
    return mounts.asked(path, lambda: os.path.isdir(path))


def _verdicts(report: Report, path: str) -> Iterator[Document]:
    wanted = render.plain(path)
    runs = report.document["runs"] if report.teller else ()
    return (c for run in runs for c in run["checkpoints"] if c.get("path") == wanted)


def _told_text(verdict: Document, report: Report, asked: _Asked) -> str | None:
    try:
        foreseen = _foreseen(verdict, report, asked) or render.told_outlook(verdict, report)
        if not asked.arguments.json:
            return render.told_text(verdict, report, foreseen, datetime.now(UTC))
    except ValueError:  # not what a ckptd writes
        return None
    told = {"version": render.VERSION, **verdict, "goes": render.outlook_json(foreseen)}
    return render.dumps(told | {"told_by": _teller(report)})


def _foreseen(verdict: Document, report: Report, asked: _Asked) -> Outlook | None:
    """When it goes; None where this command comes to another verdict than the one that is told.

    A ckptd that runs does not foresee at each look what becomes of everything.
    """
    if report.teller is None or report.teller.mode != "enforce":
        return None
    sight = _look(asked, report.teller.watches)
    own = render.verdict_json(found[0]) if (found := sight.verdict(asked.path)) else {}
    if any(verdict.get(word) != own.get(word) for word in ("standing", "action", "reasons")):
        return None
    return sight.outlook(asked.path)


def _teller(report: Report) -> Document:
    names = ("pid", "uid", "command", "mode", "looked_at")
    return {name: report.document["daemon"][name] for name in names}


# --- what this command sees itself -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sight:
    """One look, and the plan that follows from it."""

    look: Look
    plan: Plan

    def verdict(self, path: str) -> tuple[Verdict, RunPlan] | None:
        each = ((v, run_plan) for run_plan in self.plan.runs for v in run_plan.verdicts)
        return next((found for found in each if found[0].checkpoint.path == path), None)

    def outlook(self, path: str) -> Outlook | None:
        found = self.verdict(path)
        return found and outlook(*found, self.plan, self.look.world, self.look.policies)


def _look(asked: _Asked, watches: Sequence[str] = ()) -> _Sight:
    """Its run, and what else stands in line for room: all *watches*, else those configured."""
    others = tuple(map(Watch, watches)) or settings_of(asked.arguments, []).watches
    settings = replace(asked.settings, watches=(*asked.settings.watches, *others))
    return _Sight(*planned(reading(asked.arguments, settings)))


def _seen(asked: _Asked) -> str:
    sight = _look(asked)
    if (found := sight.verdict(asked.path)) and (foreseen := sight.outlook(asked.path)):
        foreseen = _if_it_acts(foreseen, asked.settings.mode)
        if not asked.arguments.json:
            return render.verdict_text(found[0], foreseen)
        goes = {"goes": render.outlook_json(foreseen), "told_by": None}
        return render.dumps(render.verdict_json(found[0]) | goes)
    items = [item for item in sight.look.world.trash if item.path == asked.path]
    if items:
        return _in_trash(items[-1], sight, asked)
    ledger = ledgers.view(asked.arguments.state)
    return _gone(asked.path, ledger, asked.reports, asked.arguments)


def _in_trash(item: TrashItem, sight: _Sight, asked: _Asked) -> str:
    foreseen = outlook_of_trash(item, sight.plan, sight.look.world, sight.look.policies)
    foreseen = _if_it_acts(foreseen, asked.settings.mode)
    if not asked.arguments.json:
        return render.trash_text(item, foreseen)
    return render.dumps(render.trash_json(item) | {"goes": render.outlook_json(foreseen)})


def _if_it_acts(foreseen: Outlook, mode: str) -> Outlook:
    if mode == "enforce":
        return foreseen
    text = f"{foreseen.text.removesuffix('.')}, if the mode were enforce; it is {mode}."
    return Outlook(None, text)


def _gone(
    path: str, ledger: LedgerView, reports: Sequence[Report], arguments: argparse.Namespace
) -> str:
    """The last that was done to it, by a ckptd with our ledger or one that shows it to us."""
    record = ledger.last(path)
    own = [(audit.event(record), None)] if record else []
    last = max([*own, *_happened(path, reports)], key=lambda each: _moment(each[0]), default=None)
    if last is None:
        raise CkptdError(f"{show_text(path)} is no checkpoint that ckptd knows of")
    event, report = last
    if arguments.json:
        told = {"at": event["at"], "told_by": report and _teller(report)}
        return render.dumps(render.gone_json(path, event["event"], event["reason"] or "") | told)
    when = _moment(event).astimezone().isoformat(" ", "seconds")
    teller = f" (as {render.teller_text(report)} tells)" if report else ""
    done = f"{event['event']} at {when}: {event['reason'] or ''}{teller}"
    return f"{show_text(path)}: {show_text(done)}"


def _happened(path: str, reports: Sequence[Report]) -> Iterator[tuple[Document, Report | None]]:
    wanted = render.plain(path)
    for report in reports:
        for event in report.document.get("events", ()):
            told = isinstance(event.get("reason"), str | None)
            if told and event.get("checkpoint") == wanted and event["event"] in ACTS:
                yield {"reason": None, **event}, report


def _moment(event: Any) -> datetime:
    moment = datetime.fromisoformat(event["at"])
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
