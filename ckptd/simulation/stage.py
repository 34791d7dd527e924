"""The world while it is played: saves land in it, and what is let go leaves it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from ckptd.model import (
    Action,
    ActionKind,
    Checkpoint,
    Filesystem,
    Health,
    Run,
    Saved,
    TrashItem,
    World,
    moment,
)
from ckptd.policy import Policies
from ckptd.policy.foresight import is_finished

# As many past saves of a run as a ckptd remembers.
REMEMBERED: Final = 50


class Stage:
    """A world that time passes in; `at` is now, in seconds since 1970.

    `let_go` counts the checkpoints that went, by whomever; `dead` are the runs whose save found
    no room, and when that was.
    """

    def __init__(self, world: World, now: datetime) -> None:
        self._world = world
        self._runs = {run.path: replace(run, calm=0.0) for run in world.runs}
        self._filesystems = list(world.filesystems)
        self._trash = {item.id: item for item in world.trash}
        self.at = now.timestamp()
        self.let_go = 0
        self.dead: dict[str, float] = {}

    @property
    def now(self) -> datetime:
        return moment(round(self.at * 1e9))

    @property
    def world(self) -> World:
        """As a look sees it at this moment."""
        return replace(
            self._world,
            runs=tuple(self._runs.values()),
            filesystems=tuple(self._filesystems),
            trash=tuple(self._trash.values()),
        )

    @property
    def filesystems(self) -> tuple[Filesystem, ...]:
        return tuple(self._filesystems)

    def run(self, path: str) -> Run:
        return self._runs[path]

    def begin(self, path: str, limit: int | None) -> None:
        """A training goes on, its trainer keeping *limit* saves; what is open is its next one."""
        self.remove(path, [c for c in self._runs[path].checkpoints if c.health is Health.WRITING])
        going = replace(self._runs[path], live=True, finished=False, trainer_limit=limit)
        self._runs[path] = going

    def wait(self, until: float, policies: Policies) -> None:
        """Lets time pass: others write on, saves get older, runs that nobody uses are over."""
        passed = until - self.at
        self.at = until
        for n, filesystem in enumerate(self._filesystems):
            more = min(int(filesystem.grows * passed), filesystem.free)
            self._filesystems[n] = _filled(filesystem, max(0, more))
        for path, run in self._runs.items():
            if run.live and policies.of(path).min_age <= 0:
                continue  # nobody asks for the age of its saves
            older = replace(run, checkpoints=tuple(_older(c, passed) for c in run.checkpoints))
            over = is_finished(older, self.now, policies.of(path).finished_after)
            self._runs[path] = replace(older, finished=over)

    def save(self, path: str, fresh: Checkpoint) -> bool:
        """A training writes *fresh*. False when it does not fit: it dies of that."""
        run = self._runs[path]
        there = [c for c in run.checkpoints if c.name == fresh.name]  # it is written over
        self.remove(path, there)
        room = min((f.free for f in self._bounding(run)), default=fresh.bytes)
        if room < fresh.bytes or any(_lacks_inodes(f, fresh) for f in self._bounding(run)):
            self._die(path, replace(fresh, bytes=max(0, min(room, fresh.bytes))))
            return False
        self._add(path, fresh)
        saved = Saved(fresh.name, fresh.step, fresh.bytes, self.at)
        run = self._runs[path]
        self._runs[path] = replace(run, saves=(*run.saves, saved)[-REMEMBERED:])
        return True

    def rotate(self, path: str) -> None:
        """As trainers do: once a save is there the oldest go, though never the recorded best."""
        run = self._runs[path]
        if run.trainer_limit is None or not run.complete:
            return
        best = run.complete[-1].recorded_best
        beyond = max(0, len(run.complete) - max(run.trainer_limit, 2 if best else 1))
        oldest = [c for c in run.complete[:-1] if c.name != best][:beyond]
        self.let_go += len(oldest)
        self.remove(path, oldest)

    def remove(self, path: str, gone: Iterable[Checkpoint]) -> None:
        """Unlinks checkpoints of a run: a trainer, a person, or ckptd under demand."""
        names = {c.name: c for c in gone}
        run = self._runs[path]
        left = tuple(c for c in run.checkpoints if c.name not in names)
        self._runs[path] = replace(run, checkpoints=left)
        for c in names.values():
            self._change(path, run.filesystem, -c.frees, -c.inodes)

    def take(self, actions: Iterable[Action]) -> None:
        """Does what a plan says."""
        for action in actions:
            if item := action.item:
                del self._trash[item.id]
                self._change(item.run, item.filesystem, -item.bytes, -item.inodes)
            elif action.run and action.checkpoint:
                self._let_go(action.run.path, action.checkpoint, action)

    def expiring(self, policies: Policies) -> float | None:
        """When the next of what lies in the trash is to be purged; None where nothing is."""
        due = (
            i.trashed_at.timestamp() + policies.of(i.run).trash_for for i in self._trash.values()
        )
        return min((at for at in due if at > self.at), default=None)

    # --- what changes --------------------------------------------------------------------

    def _let_go(self, path: str, checkpoint: Checkpoint, action: Action) -> None:
        self.let_go += checkpoint.complete
        if action.purge_now:
            self.remove(path, [checkpoint])
            return
        run = self._runs[path]
        left = tuple(c for c in run.checkpoints if c.name != checkpoint.name)
        self._runs[path] = replace(run, checkpoints=left)
        item = _trashed(run, checkpoint, action, self.now)
        self._trash[item.id] = item

    def _die(self, path: str, wreck: Checkpoint) -> None:
        self.dead[path] = self.at
        health, evidence = Health.BROKEN, "cut off: no space was left on the disk"
        self._add(path, replace(wreck, health=health, evidence=evidence, weights_whole=False))
        self._runs[path] = replace(self._runs[path], live=False, users=())

    def _add(self, path: str, fresh: Checkpoint) -> None:
        run = self._runs[path]
        there = tuple(sorted((*run.checkpoints, fresh), key=lambda c: c.order))
        self._runs[path] = replace(run, checkpoints=there)
        self._change(path, run.filesystem, fresh.bytes, fresh.inodes)

    def _bounding(self, run: Run) -> Iterator[Filesystem]:
        return (f for f in self._filesystems if f.bounds(run.path, run.filesystem))

    def _change(self, run: str, place: str, more: int, inodes: int) -> None:
        for n, filesystem in enumerate(self._filesystems):
            if filesystem.bounds(run, place):
                self._filesystems[n] = _filled(filesystem, more, inodes)


def _filled(filesystem: Filesystem, more: int, inodes: int = 0) -> Filesystem:
    used = filesystem.used + more
    return replace(
        filesystem,
        used=used,
        free=max(0, filesystem.usable - used),
        inodes_free=max(0, filesystem.inodes_free - inodes),
    )


def _lacks_inodes(filesystem: Filesystem, fresh: Checkpoint) -> bool:
    return filesystem.inodes_total > 0 and filesystem.inodes_free < fresh.inodes


def _older(checkpoint: Checkpoint, seconds: float) -> Checkpoint:
    return replace(checkpoint, age=checkpoint.age + seconds)


def _trashed(run: Run, gone: Checkpoint, action: Action, now: datetime) -> TrashItem:
    return TrashItem(
        id=gone.path,
        place=run.watch,
        uid=gone.uid,
        run=run.path,
        name=gone.name,
        step=gone.step,
        bytes=gone.frees,
        saved_at=gone.saved_at,
        trashed_at=now,
        action=ActionKind(action.kind),
        weights_whole=gone.weights_whole,
        filesystem=run.filesystem,
        inodes=gone.inodes,
    )
