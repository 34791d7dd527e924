"""From findings to a health: what one save's files, its siblings and the time since say. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ckptd.model import Findings, Health, Marker
from ckptd.units import show_duration

Judgement = tuple[Health, str]


def judge(
    findings: Findings,
    siblings: Sequence[Findings],
    *,
    quiet: float,
    writer: str | None,
    may_write: bool,
    settle: float,
) -> Judgement:
    """The health of a save and its evidence, one sentence (DESIGN section 3, Health).

    *siblings* are the run's other saves judged complete; *quiet* the seconds since the last
    change, 0 to infinity; *writer* a sentence naming what somebody has open for writing;
    *may_write* whether a live process may still write it; *settle* the seconds of quiet that
    count as the end of a save.
    """
    if not findings.recognised:
        return Health.UNPROVEN, "holds none of the files that a Trainer writes"
    if writer is not None:
        return Health.WRITING, writer
    if finished := _finished(findings, siblings, quiet=quiet, settle=settle):
        return finished
    if quiet < settle:
        return Health.WRITING, f"changed {show_duration(quiet)} ago"
    if may_write:
        return Health.WRITING, f"{_shortcoming(findings)}; a live process may still write it"
    return _abandoned(findings, siblings)


def _finished(
    findings: Findings, siblings: Sequence[Findings], *, quiet: float, settle: float
) -> Judgement | None:
    """The judgement on a save with its marker and nothing wrong; None for any other."""
    if findings.damage or findings.doubts or not findings.weights_whole:
        return None
    if findings.marker not in {Marker.CURRENT, Marker.LATE_FILES}:
        return None
    late = findings.marker is Marker.LATE_FILES
    missing = None if late else _missing_ranks(findings, siblings)
    waiting = findings.marker_text if late else missing
    if waiting and quiet < settle:
        return Health.WRITING, f"{waiting}; changed {show_duration(quiet)} ago"
    return Health.COMPLETE, f"{findings.marker_text}, and every container is whole"


def _missing_ranks(findings: Findings, siblings: Sequence[Findings]) -> str | None:
    """Why ranks of a distributed save may still be writing: none waits for another."""
    if findings.ranks == 0:
        return None
    usual = max((sibling.ranks for sibling in siblings), default=0)
    if usual == 0:
        return f"files of {findings.ranks} ranks, and no intact sibling tells how many there are"
    return f"files of {findings.ranks} of {usual} ranks" if findings.ranks < usual else None


def _abandoned(findings: Findings, siblings: Sequence[Findings]) -> Judgement:
    """The judgement on a save that nobody writes and that its marker does not prove whole."""
    if findings.damage:
        return Health.BROKEN, _with_more(findings.damage)
    if findings.doubts:
        return Health.UNPROVEN, _with_more(findings.doubts)
    match findings.marker:
        case Marker.TORN if siblings or findings.resumable:
            return Health.BROKEN, findings.marker_text
        case Marker.ABSENT:
            return _without_marker(findings, siblings)
        case _ if not findings.weights_whole:
            return Health.UNPROVEN, f"{findings.marker_text}, but it holds no weights"
        case _:
            return Health.UNPROVEN, findings.marker_text


def _without_marker(findings: Findings, siblings: Sequence[Findings]) -> Judgement:
    """Broken only where every intact sibling has more: a download or an export has no marker."""
    text = findings.marker_text
    if findings.weights_whole and not findings.resumable:
        return Health.UNPROVEN, f"{text}: it looks like an export or a download"
    if not siblings:
        return Health.UNPROVEN, f"{text}, and there is no intact sibling to compare it with"
    usual = frozenset.intersection(*(sibling.roles for sibling in siblings))
    if not usual - findings.roles:
        return Health.UNPROVEN, text
    others = sorted(usual - findings.roles - {"marker"})
    lacks = f"; it lacks {', '.join(others)} as well" if others else ""
    count = (
        "the intact sibling has"
        if len(siblings) == 1
        else f"all {len(siblings)} intact siblings have"
    )
    return Health.BROKEN, f"{text}, which {count}{lacks}"


def _shortcoming(findings: Findings) -> str:
    """The first thing that keeps a save from being complete."""
    return next(iter((*findings.damage, *findings.doubts)), findings.marker_text)


def _with_more(sentences: Sequence[str]) -> str:
    more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return f"{sentences[0]}{more}"
