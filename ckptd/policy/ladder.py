"""The ladder of relief: what is let go, in which order, and what of it is unlinked at once. Pure.

Expired trash, the rest of the trash, broken litter, surplus, then soft ones by rank (DESIGN
section 3). What is expired, broken or surplus goes in any case; the rest only while what was
promised so far does not meet the demand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from ckptd.model import (
    Action,
    ActionKind,
    Filesystem,
    Reason,
    Relief,
    Run,
    RunPlan,
    TrashItem,
    Verdict,
    World,
)
from ckptd.policy.facts import in_future
from ckptd.policy.foresight import full_in, stuck_growths
from ckptd.policy.links import Links
from ckptd.policy.relief import Candidate, ranked, soft_bytes
from ckptd.policy.settings import Policies
from ckptd.units import show_bytes, show_duration

# So many are let go of in about a second.
QUICK: Final = 50
NOWHERE: Final = Filesystem("", "", "", 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Rung:
    """`routine`: taken without demand too. `must_stay`: its bytes may not be unlinked yet."""

    step: Action
    routine: bool
    must_stay: bool = False

    @property
    def at_once(self) -> bool:
        """Whether demand makes a difference to how it is taken."""
        return not self.must_stay and not (self.routine and self.step.kind is ActionKind.PURGE)


@dataclass(slots=True)
class _Gain:
    """What the steps on one filesystem promise so far, and all that they could."""

    bytes: int = 0
    inodes: int = 0
    possible: int = 0
    links: Links = field(default_factory=Links)

    def lacks(self, need: Relief) -> bool:
        return self.bytes < need.demand or self.inodes < need.inodes

    def add(self, step: Action) -> None:
        if step.purge_now or step.kind is ActionKind.PURGE:
            self.bytes += self.links.frees(gone) if (gone := step.checkpoint) else step.bytes
            self.inodes += _inodes(step)
            if gone:
                self.links.take(gone)


class Ladder:
    """Takes each step once, although several filesystems may ask for it: a disk and a quota."""

    def __init__(
        self, world: World, judged: Sequence[RunPlan], policies: Policies, now: datetime
    ) -> None:
        self._judged = judged
        self._policies = policies
        self._now = now
        self._runs = {run.path: run for run in world.runs}
        self._trash = sorted(world.trash, key=lambda item: (item.trashed_at, item.id))
        self._newest = _newest_in_trash(self._trash)
        self._unseen = [lost.path for lost in world.unreadable if not lost.passed_over]
        self._steps: dict[str, Action] = {}

    def climb(self, need: Relief) -> Relief:
        """Takes what *need* asks for; what of it nobody may give is its shortfall."""
        here = [run_plan for run_plan in self._judged if _stands_in(run_plan.run, need)]
        gain = _Gain(possible=soft_bytes(here))
        for rung in self._rungs(here, need):
            gain.possible += 0 if rung.must_stay else _frees(rung.step)
            self._take(rung, need, gain)
        candidates = enumerate(ranked(here, inodes=_inodes_alone(need)), start=1)
        chosen: list[Action] = []
        # Which soft ones are next need not be known where no more are wanted.
        while gain.lacks(need) and (found := next(candidates, None)):
            chosen.append(_relieving(*found, need))
            self._take(_Rung(chosen[-1], routine=False), need, gain)
        if need.urgent and len(chosen) > QUICK:
            self._largest_first(chosen, need)
        return replace(
            need,
            shortfall=max(0, need.shortfall - gain.bytes),
            inodes_shortfall=max(0, need.inodes_shortfall - gain.inodes),
            spent_in_seconds=self._spent_in(need, gain.possible),
        )

    def _take(self, rung: _Rung, need: Relief, gain: _Gain) -> None:
        item = rung.step.item
        key = f"{item.uid}/{item.id}" if item else rung.step.path
        lacks = gain.lacks(need)
        step = self._steps.get(key, rung.step if rung.routine or lacks else None)
        if step is not None:
            step = _at_once(step, need) if lacks and rung.at_once else step
            self._steps[key] = step
            gain.add(step)

    def _largest_first(self, chosen: Sequence[Action], need: Relief) -> None:
        """All of them are needed, but hundreds of small ones take longer than the next save.

        So those go first that free most; what is measured after each may spare the small ones.
        """
        frees = _inodes if _inodes_alone(need) else _frees
        for step in sorted(chosen, key=frees, reverse=True):
            self._steps[step.path] = self._steps.pop(step.path)

    def steps(self) -> tuple[Action, ...]:
        """All that was taken, in order, and what is routine where no filesystem was measured."""
        nothing = Relief(NOWHERE)
        for rung in self._rungs(self._judged, nothing):
            self._take(rung, nothing, _Gain())
        return tuple(self._steps.values())

    def _spent_in(self, need: Relief, possible: int) -> float | None:
        here = [run_plan.run for run_plan in self._judged if _stands_in(run_plan.run, need)]
        growing = stuck_growths(need.filesystem, here, self._policies, self._now)
        return full_in(need.filesystem.free + possible - need.coming, growing)

    # --- rungs ---------------------------------------------------------------------------

    def _rungs(self, here: Sequence[RunPlan], need: Relief) -> Iterator[_Rung]:
        """Those above the soft ones."""
        fs, nowhere = need.filesystem, need.filesystem is NOWHERE
        trash = [i for i in self._trash if nowhere or fs.bounds(i.run, i.filesystem)]
        yield from self._rungs_of_trash([i for i in trash if self.may_purge(i)], need)
        for kind in (ActionKind.SET_ASIDE, ActionKind.EVICT):
            yield from self._rungs_of_kind(here, kind)

    def _rungs_of_trash(self, trash: Sequence[TrashItem], need: Relief) -> Iterator[_Rung]:
        expired = [item for item in trash if self._expired(item)]
        for item in expired:
            yield _Rung(_purge(item, self._overdue(item)), routine=True)
        gone = {item.id for item in expired}
        for item in trash:
            if item.id not in gone:
                yield _Rung(_purge(item, _pressed(need)), routine=False)

    def _rungs_of_kind(self, here: Sequence[RunPlan], kind: ActionKind) -> Iterator[_Rung]:
        for run, verdict in _oldest_first(here, kind):
            stays = kind is ActionKind.SET_ASIDE and self._only_weights(verdict, run)
            now_gone = self._policies.of(run.path).trash_for <= 0 and not stays
            step = replace(_let_go(run, verdict, kind), purge_now=now_gone)
            yield _Rung(step, routine=True, must_stay=stays)

    # --- what may go ---------------------------------------------------------------------

    def may_purge(self, item: TrashItem) -> bool:
        """Not what no record knows, and not the newest save or weights that a run has left."""
        if not item.known or self._policies.of(item.run).frozen or self._is_unseen(item.run):
            return False
        run = self._runs.get(item.run)
        if item.action is ActionKind.EVICT:
            newest = self._newest.get(item.run)
            return run is None or bool(run.complete) or (newest or item.saved_at) > item.saved_at
        return not item.weights_whole or (run is not None and self._has_newer(run, item.saved_at))

    def _is_unseen(self, run: str) -> bool:
        """Whether nobody could say now what the run has: it, or something above it."""
        return any(f"{run}/".startswith(f"{path.rstrip('/')}/") for path in self._unseen)

    def _expired(self, item: TrashItem) -> bool:
        return (self._now - item.trashed_at).total_seconds() >= self._trash_for(item)

    def _overdue(self, item: TrashItem) -> Reason:
        limit = show_duration(self._trash_for(item))
        spent = show_duration((self._now - item.trashed_at).total_seconds())
        return Reason("trash_for", False, f"{spent} in the trash; trash_for is {limit}")

    def _trash_for(self, item: TrashItem) -> float:
        return self._policies.of(item.run).trash_for

    def _only_weights(self, verdict: Verdict, run: Run) -> bool:
        broken = verdict.checkpoint
        return broken.weights_whole and not self._has_newer(run, broken.saved_at)

    def _has_newer(self, run: Run, saved_at: datetime) -> bool:
        """Whether a complete save of *run* came later whose weights are of use.

        One from the future proves nothing. What diverged since, or may have, is no match for
        weights that are whole.
        """
        return any(
            c.saved_at > saved_at and c.divergence is None and not in_future(c, self._now)
            for c in run.complete
        )


def _stands_in(run: Run, need: Relief) -> bool:
    return need.filesystem.bounds(run.path, run.filesystem)


def _newest_in_trash(trash: Sequence[TrashItem]) -> Mapping[str, datetime]:
    """When the newest evicted save of each run was saved."""
    newest: dict[str, datetime] = {}
    for item in trash:
        if item.action is ActionKind.EVICT:
            newest[item.run] = max(item.saved_at, newest.get(item.run, item.saved_at))
    return newest


# --- steps -------------------------------------------------------------------------------


def _at_once(step: Action, need: Relief) -> Action:
    """*step* so that its bytes come free now: they are needed."""
    return replace(
        step,
        purge_now=True,
        pressed=True,
        urgent=step.urgent or need.urgent,
        wait=_breathing(step) if need.urgent else step.wait,
        filesystem=need.filesystem.name,
    )


def _breathing(step: Action) -> float:
    return step.run.breathing if step.run else 0.0


def _inodes_alone(need: Relief) -> bool:
    """Whether it is the number of files that counts, whatever their size."""
    return need.inodes > 0 and not need.demand


def _frees(step: Action) -> int:
    """Bytes that come free when it alone is unlinked; hard links elsewhere keep the others."""
    return step.checkpoint.frees if step.checkpoint else step.bytes


def _inodes(step: Action) -> int:
    subject = step.checkpoint or step.item
    return subject.inodes if subject else 0


def _oldest_first(run_plans: Sequence[RunPlan], kind: ActionKind) -> list[tuple[Run, Verdict]]:
    found = [
        (run_plan.run, verdict)
        for run_plan in run_plans
        for verdict in run_plan.verdicts
        if verdict.action is kind
    ]
    return sorted(found, key=lambda pair: (pair[1].checkpoint.order, pair[0].path))


def _let_go(run: Run, verdict: Verdict, kind: ActionKind) -> Action:
    checkpoint = verdict.checkpoint
    return Action(
        kind,
        checkpoint.path,
        checkpoint.bytes,
        verdict.reasons,
        run.filesystem,
        run=run,
        checkpoint=checkpoint,
        wait=run.calm,
    )


def _relieving(place: int, candidate: Candidate, need: Relief) -> Action:
    """A soft one let go, and what that costs."""
    gone = candidate.checkpoint
    frees = _both(show_bytes(candidate.frees), gone.inodes, need)
    alone = " alone" if candidate.share > candidate.frees else ""
    why = f"kept only while there is room; {candidate.cost}, frees {frees}{alone}; "
    reason = replace(_pressed(need, why), rank=place)
    verdict = replace(candidate.verdict, reasons=(reason, *candidate.verdict.reasons))
    return _let_go(candidate.run, verdict, ActionKind.EVICT)


def _purge(item: TrashItem, reason: Reason) -> Action:
    return Action(ActionKind.PURGE, item.path, item.bytes, (reason,), item.filesystem, item=item)


def _pressed(need: Relief, why: str = "") -> Reason:
    return Reason("pressure", False, f"{why}{demand_text(need)}")


def demand_text(need: Relief) -> str:
    """`the disk is 91.2 % used and must gain 4.2 GiB`, as every report says it."""
    filesystem = need.filesystem
    what = filesystem.limit or "disk"
    used = f"is {filesystem.used_percent:.1f} % used"
    if need.inodes:
        few = f"has {filesystem.inodes_free} of {filesystem.inodes_total} inodes free"
        used = f"{used} and {few}" if need.demand else few
    gain = _both(show_bytes(need.demand), need.inodes, need)
    saves = "what is written next" if filesystem.writes else "the next saves"
    reserved = f" for {saves} ({show_bytes(need.reserve)})" if _for_saves(need) else ""
    return f"the {what} {used} and must gain {gain}{reserved}"


def _both(size: str, inodes: int, need: Relief) -> str:
    """Of bytes and inodes what is demanded, in words."""
    found = [*([size] if need.demand else []), *([f"{inodes} inodes"] if need.inodes else [])]
    return " and ".join(found)


def _for_saves(need: Relief) -> bool:
    return need.state == "ok" and need.demand > 0
