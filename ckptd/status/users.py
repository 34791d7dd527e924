"""What of all that a daemon sees and does concerns one user. Root sees all."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from ckptd.model import Plan, Relief, RunPlan, Unreadable, World

NOBODY: Final = -1
MOST_KNOWN: Final = 20_000  # runs whose owners are remembered


@dataclass(slots=True)
class Heard:
    """One event, and the owner of the run it is about; None while no such run was seen."""

    event: Mapping[str, Any]
    uid: int | None = None

    def find_owner(self, owners: Mapping[str, int]) -> None:
        """Looks it up, unless it is known: the run may be gone when somebody asks."""
        if self.uid is None:
            subject = self.event.get("run") or self.event.get("checkpoint") or ""
            self.uid = next((owners[p] for p in upwards(subject) if p in owners), None)


def owners(plan: Plan, world: World, before: Mapping[str, int]) -> dict[str, int]:
    """Whose each run is, by its path; also those of which only the trash has something left.

    *before* is what was known: whoever puts something on a shelf of theirs that names a run does
    not become the one who is told of it.
    """
    of_trash: dict[str, int] = {}
    for item in world.trash:
        told = of_trash.setdefault(item.run, item.uid)
        of_trash[item.run] = item.uid if told == item.uid else NOBODY
    of_runs = {run_plan.run.path: run_plan.run.uid for run_plan in plan.runs}
    known = {**of_trash, **before, **of_runs}
    return dict(islice(known.items(), max(0, len(known) - MOST_KNOWN), None))


def of_user(uid: int, plan: Plan, world: World) -> tuple[Plan, World]:
    """*plan* and *world* with the runs of *uid*, and with what concerns these alone.

    No run of others, nothing that cannot be read elsewhere, no disk that none of them lies on.
    """
    runs = tuple(run_plan for run_plan in plan.runs if run_plan.run.uid == uid)
    paths = {run_plan.run.path for run_plan in runs}
    above = {directory for path in paths for directory in upwards(path)}
    mine = replace(
        plan,
        runs=runs,
        actions=(),
        filesystems=tuple(
            _without_others(need, paths) for need in plan.filesystems if _bounds(need, runs)
        ),
        unreadable=tuple(lost for lost in plan.unreadable if _may_hear(lost, uid, paths)),
    )
    their_world = replace(
        world,
        trash=tuple(item for item in world.trash if item.uid == uid),
        frozen=tuple(
            drop
            for drop in world.frozen
            if os.path.dirname(drop.path) in above and drop.uid in {None, uid}
        ),
    )
    return mine, their_world


def _bounds(need: Relief, runs: Sequence[RunPlan]) -> bool:
    return any(need.filesystem.bounds(each.run.path, each.run.filesystem) for each in runs)


def _without_others(need: Relief, paths: AbstractSet[str]) -> Relief:
    """What stands in the way of room is told to each user as far as it is theirs."""
    return replace(need, in_the_way=tuple(o for o in need.in_the_way if o.path in paths))


def _may_hear(lost: Unreadable, uid: int, paths: AbstractSet[str]) -> bool:
    """Whether it is a run of *uid* or a name directly in one: deeper may be closed to that user."""
    return bool({lost.path, os.path.dirname(lost.path)} & paths) and lost.uid in {None, uid}


def upwards(path: str) -> Iterator[str]:
    """The absolute *path* and every directory above it."""
    while path.strip("/"):
        yield path
        path = os.path.dirname(path)
    if path:
        yield "/"
