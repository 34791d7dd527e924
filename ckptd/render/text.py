"""What `why` and `apply` say to people of one checkpoint, one trash item, one outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from ckptd.model import ActionKind, Outcome, Outlook, Standing, TrashItem, Verdict
from ckptd.render.document import Document, verdict_json
from ckptd.render.report import Report
from ckptd.render.wording import counted, when
from ckptd.units import show_bytes, show_duration, show_text

# Until when a rule or hold keeps, for those whose own reason does not already say it.
UNTIL: Final[Mapping[str, str]] = {
    "newest": "until a newer save is complete",
    "highest_step": "until a save with a higher step is complete",
    "last_healthy": "until a newer healthy save is complete",
    "only_intact": "until another save is complete",
    "recorded_best": "until the trainer records a better one",
    "writing": "until it is complete",
    "unproven": "until it is proven whole or damaged, or a person removes it",
    "save_open": "until that save is complete",
    "in_use": "until that process lets go of it",
    "named": "until that process has ended",
    "pointer": "until the pointer points elsewhere",
    "keep_every_steps": "for as long as the rule is set",
    "no_rule": "until a rule is set, or the disk is too full",
}


def verdict_text(verdict: Verdict, outlook: Outlook) -> str:
    """Everything about one checkpoint of a run: facts, all reasons, and when it would go."""
    return "\n".join([*_verdict(verdict_json(verdict)), f"  {show_text(outlook.text)}"])


def told_text(verdict: Document, report: Report, outlook: Outlook, now: datetime) -> str:
    """As `verdict_text`, for a verdict in what a running ckptd shows; whose it is comes first.

    Raises ValueError when it is none.
    """
    if (teller := report.teller) is None:
        raise ValueError("nobody tells it")
    ago = show_duration(max(0, int((now - teller.looked_at).total_seconds())))
    try:
        who = f"  So {teller_text(report)} saw it {ago} ago."
        return "\n".join([*_verdict(verdict), f"  {show_text(outlook.text)}", who])
    except (KeyError, TypeError, AttributeError):
        raise ValueError("it is not what a ckptd writes") from None


def teller_text(report: Report) -> str:
    """Which ckptd a report comes from: `ckptd watch (pid 4711, root's)`."""
    teller = report.teller
    whose = "" if teller is None or teller.uid else ", root's"
    return f"ckptd {teller.command} (pid {teller.pid}{whose})" if teller else "this command"


def _verdict(verdict: Document) -> Iterator[str]:
    """The lines on a checkpoint as it stands in a document."""
    step = "" if verdict["step"] is None else f"step {verdict['step']}, "
    saved = when(datetime.fromisoformat(verdict["saved_at"]))
    yield show_text(verdict["path"])
    yield f"  {step}{show_bytes(verdict['bytes'])}, saved {saved}"
    yield f"  {show_text(verdict['health'])}: {show_text(verdict['evidence'])}"
    yield f"  {show_text(verdict['standing'])}, so {show_text(verdict['action'])}:"
    for reason in verdict["reasons"]:
        sign = "+" if reason["keeps"] else "-"
        yield f"    {sign} {show_text(reason['rule'])}: {show_text(reason['text'])}"


def told_outlook(verdict: Document, report: Report) -> Outlook:
    """What its going hangs on, as far as a document tells. Raises ValueError when it is none."""
    mode = report.teller.mode if report.teller else "enforce"
    try:
        if verdict["action"] == ActionKind.KEEP:
            return Outlook(None, " ".join(_terms(verdict)))
    except (KeyError, TypeError, AttributeError):
        raise ValueError("it is not what a ckptd writes") from None
    goes = "as soon as it may" if mode == "enforce" else f"if the mode were enforce; it is {mode}"
    return Outlook(None, f"It goes {goes}.")


def _terms(verdict: Document) -> Iterator[str]:
    yield _stays(verdict["reasons"])
    if verdict["standing"] == Standing.SOFT:
        yield "When the disk is too full it may go earlier: nothing keeps it under pressure."


def _stays(reasons: Sequence[Document]) -> str:
    keepers = [reason for reason in reasons if reason["keeps"]]
    terms = [f"{show_text(r['rule'])} keeps it {term}" for r in keepers if (term := _until(r))]
    return f"It stays: {'; '.join(terms)}." if terms else "It stays until no reason above keeps it."


def _until(reason: Document) -> str | None:
    rule, rank, limit = reason["rule"], reason.get("rank"), reason.get("limit")
    if limit is None and rule == "keep_last":
        return "while there is room"
    if rank is None or limit is None:
        return UNTIL.get(rule)
    left = limit - rank + 1
    what = {"keep_last": "newer", "keep_best": "better"}.get(rule, "further")
    verb = "is" if left == 1 else "are"
    return f"until {counted(left, f'{what} complete checkpoint')} {verb} there"


def trash_text(item: TrashItem, outlook: Outlook) -> str:
    """Where a checkpoint in the trash came from, why it went, how it comes back and until when."""
    why = f": {show_text(item.reason)}" if item.reason else ""
    return "\n".join(
        [
            f"{show_text(item.path)} is in the trash since {when(item.trashed_at)}",
            f"  {item.action}{why}",
            f"  {show_bytes(item.bytes)}; ckptd restore {show_text(item.id)} brings it back",
            f"  {show_text(outlook.text)}",
        ]
    )


def outcome_text(outcome: Outcome) -> str:
    """One line: what was done, or why not."""
    action = outcome.action
    what = f"{action.kind} {show_text(action.path)}"
    if not outcome.ok:
        word = "refused" if outcome.refused else "failed"
        return f"{word}: {what}: {show_text(outcome.error or 'no reason was given')}"
    if outcome.freed_bytes:
        return f"done: {what}: {show_bytes(outcome.freed_bytes)} freed"
    if action.kind in (ActionKind.EVICT, ActionKind.SET_ASIDE) and outcome.id:
        return f"done: {what}: in the trash; ckptd restore {show_text(outcome.id)} brings it back"
    return f"done: {what}"
