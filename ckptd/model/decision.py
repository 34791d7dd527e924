"""What is decided: verdicts with their reasons, actions in their order, outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ckptd.model.words import ActionKind, Standing
from ckptd.model.world import Checkpoint, Filesystem, Run, TrashItem, Unreadable


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a rule or a hold keeps a checkpoint, or why it does not.

    `rule` is the word of the TOML (`keep_last`) or of the hold (`newest`); `rank` is the place
    the rule gave it, 1 being the first it would keep, and `limit` how many it keeps.
    """

    rule: str
    keeps: bool
    text: str
    rank: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one verdict on a checkpoint: standing, what to do, and why (never without a reason)."""

    checkpoint: Checkpoint
    standing: Standing
    action: ActionKind
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a plan.

    `checkpoint` is set for what still lies in its run, `item` for what lies in the trash.
    `purge_now` asks that what is let go is unlinked at once: only that frees space. `pressed`:
    its filesystem needs that space. `wait` is the seconds of calm before it may be taken.
    """

    kind: ActionKind
    path: str
    bytes: int
    reasons: tuple[Reason, ...]
    filesystem: str
    run: Run | None = None
    checkpoint: Checkpoint | None = None
    item: TrashItem | None = None
    purge_now: bool = False
    pressed: bool = False
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Relief:
    """What a filesystem needs, in bytes: its state, demand, reserve, and what nobody may give."""

    filesystem: Filesystem
    state: str = "ok"
    demand: int = 0
    reserve: int = 0
    shortfall: int = 0
    full_in_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The verdicts on one run's checkpoints, oldest first."""

    run: Run
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Verdicts and ordered actions; a value, used once."""

    made_at: datetime
    runs: tuple[RunPlan, ...] = ()
    actions: tuple[Action, ...] = ()
    filesystems: tuple[Relief, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(verdict for run in self.runs for verdict in run.verdicts)

    @property
    def reclaim_bytes(self) -> int:
        """Bytes that lie in what the verdicts let go."""
        return sum(v.checkpoint.bytes for v in self.verdicts if v.action is not ActionKind.KEEP)

    @property
    def relieving(self) -> frozenset[str]:
        """Paths of the filesystems under demand: the next plan's `before`."""
        return frozenset(relief.filesystem.path for relief in self.filesystems if relief.demand)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action. `freed_bytes` were measured or unlinked, not promised."""

    action: Action
    ok: bool
    freed_bytes: int = 0
    error: str | None = None
    id: str | None = None
    refused: bool = False
