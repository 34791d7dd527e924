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
    its filesystem needs that space, `urgent`: before calm is over. `wait` is the seconds of calm
    before it may be taken. `filesystem` is the name of the one that it relieves.
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
    urgent: bool = False
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something large on a filesystem: where, its bytes on disk, and what it is, in words."""

    path: str
    bytes: int
    what: str


@dataclass(frozen=True, slots=True)
class Relief:
    """What a filesystem needs: its state, the demand, and the shortfall that nobody may give.

    In bytes, and in `inodes`. `reserve` are the bytes that the next saves may take, `coming` the
    part of them that is expected; the rest is for saves that grow. `urgent`: what is demanded is
    needed before calm is over. `full_in_seconds` is when it is full if nothing is let go,
    `spent_in_seconds` when it is although all that may go has gone; None: never, as far as is
    known. `in_the_way` are the largest things there that ckptd lets nobody have, or does not know.
    `floor` and `inodes_floor`: with less free than that, more would be demanded.
    `relieving` are the names under which a mark that was passed is remembered until `low`.
    """

    filesystem: Filesystem
    state: str = "ok"
    demand: int = 0
    inodes: int = 0
    reserve: int = 0
    coming: int = 0
    urgent: bool = False
    shortfall: int = 0
    inodes_shortfall: int = 0
    full_in_seconds: float | None = None
    spent_in_seconds: float | None = None
    floor: int = 0
    inodes_floor: int = 0
    in_the_way: tuple[Obstacle, ...] = ()
    relieving: frozenset[str] = frozenset()

    @property
    def pressed(self) -> bool:
        """Whether something is demanded: bytes or inodes."""
        return self.demand > 0 or self.inodes > 0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The verdicts on one run's checkpoints, oldest first.

    `beyond_max_size` are the bytes that it holds beyond its `max_size` and nobody may give.
    """

    run: Run
    verdicts: tuple[Verdict, ...]
    beyond_max_size: int = 0


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
        """What is past a mark, and to be relieved until `low`: the next plan's `before`."""
        return frozenset(name for relief in self.filesystems for name in relief.relieving)


@dataclass(frozen=True, slots=True)
class Outlook:
    """When something would go: in so many `seconds`, None where that is not known, and in words."""

    seconds: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action. `freed_bytes` were measured or unlinked, not promised."""

    action: Action
    ok: bool
    freed_bytes: int = 0
    error: str | None = None
    id: str | None = None
    refused: bool = False
