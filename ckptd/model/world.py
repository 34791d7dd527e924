"""The world that a plan is made from: runs, checkpoints, disks, trash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Final, Literal

from ckptd.model.findings import Divergence, Part
from ckptd.model.listing import Identity, Linked
from ckptd.model.words import ActionKind, Health

# Seconds: trainers list and stat their checkpoints right after a save (DESIGN section 3, Calm).
CALM: Final = 2.0
_BREATH: Final = 0.5


@dataclass(frozen=True, slots=True)
class Use:
    """A process that has to do with a checkpoint or a run, and how.

    `how` is `open`, `mapped`, `cwd`, `lock` or `named`; `pid` is 0 where the kernel only says
    that somebody has it (a lease probe names nobody).
    """

    how: str
    pid: int = 0
    command: str = ""

    @property
    def who(self) -> str:
        """`python (pid 42)`, or that it is somebody."""
        return f"{self.command} (pid {self.pid})" if self.pid else "a process"

    def of(self, thing: str) -> str:
        """The sentence with *thing* (`it`, `this run`) as what is used."""
        who = self.who
        return {
            "open": f"{who} has a file of {thing} open",
            "mapped": f"{who} has a file of {thing} mapped",
            "cwd": f"{who} works inside {thing}",
            "lock": f"{who} holds a lock on {thing}",
            "named": f"{who} names {thing} on its command line",
        }[self.how]

    def __str__(self) -> str:
        return self.of("it")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One recognised save of a run.

    `age` is the seconds since it was complete, `recorded_best` the name that the trainer's state
    inside it calls its best, `foreign` what a person put into it later. `unseen`: its owner's
    processes are hidden from us, so nobody can say who uses it. `shared`: bytes that hard links
    elsewhere keep, so that letting it go does not free them; `linked` are the files they are in.
    `inodes` come free with it.
    `divergence`: its training's numbers are not finite any more, or may not be.
    """

    path: str
    name: str
    identity: Identity
    format: str
    step: int | None
    bytes: int
    saved_at: datetime
    health: Health
    evidence: str
    uid: int = 0
    age: float = float("inf")
    parts: tuple[Part, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    pinned: bool = False
    slim: bool = False
    weights_whole: bool = False
    recorded_best: str | None = None
    uses: tuple[Use, ...] = ()
    foreign: tuple[str, ...] = ()
    unseen: bool = False
    shared: int = 0
    linked: tuple[Linked, ...] = ()
    inodes: int = 1
    divergence: Divergence | None = None

    @property
    def order(self) -> tuple[datetime, int, str]:
        """Oldest first: saved_at, then step, then name (DESIGN section 3, Order)."""
        return (self.saved_at, -1 if self.step is None else self.step, self.name)

    @property
    def frees(self) -> int:
        """Bytes that come free with it, whatever else goes."""
        return self.bytes - self.shared

    @property
    def complete(self) -> bool:
        return self.health is Health.COMPLETE

    @property
    def diverged(self) -> bool:
        return self.divergence is not None and self.divergence.proven


Series = tuple[Checkpoint, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """One whole save, there or gone: bytes on disk, `saved_at` in seconds since 1970."""

    name: str
    step: int | None
    bytes: int
    saved_at: float


@dataclass(frozen=True, slots=True)
class BestMetric:
    """A metric and which end of it is best."""

    metric: str
    mode: Literal["min", "max"]

    @staticmethod
    def better_end(metric: str) -> Literal["min", "max"]:
        """The end at which *metric* is best where nobody says: transformers' own guess, and of
        errors and perplexities that lower is better, as their names say.
        """
        lower = ("loss", "perplexity", "ppl", "error", "wer", "cer", "mae", "mse", "rmse")
        return "min" if metric.endswith(lower) else "max"


@dataclass(frozen=True, slots=True)
class Run:
    """One directory that checkpoints of one training land in.

    `best_metric` is what the trainer itself ranks by; `pointers` map a link's name to the
    checkpoint it points at; `calm` is the seconds for which nothing is let go here yet;
    `trainer_limit` is the number that the trainer itself rotates to; `exports` are files of a
    final export lying beside the checkpoints; `mixed_owners` lets root act on files that are not
    the run's owner's. `live` says that a process names or opens it, `finished` that its training
    is over; `attended` that one who was seen to write in it, or to name it, is still there, which
    a look that asks nobody knows too; `leases` that the kernel tells here whether a file is open.
    `saves` are the last whole saves that are known, there or gone, oldest first; none of them from
    the future.
    """

    path: str
    watch: str
    filesystem: str
    format: str
    device: int
    inode: int
    uid: int
    checkpoints: Series
    gid: int = -1
    adopted: bool = False
    live: bool = False
    attended: bool = False
    finished: bool = False
    users: tuple[Use, ...] = ()
    best_metric: BestMetric | None = None
    pointers: Mapping[str, str] = field(default_factory=dict)
    calm: float = 0.0
    trainer_limit: int | None = None
    exports: tuple[str, ...] = ()
    trusted: bool = True
    mixed_owners: bool = False
    policy_from: tuple[str, ...] = ()
    next_save_bytes: int = 0
    save_interval_seconds: float | None = None
    saves: tuple[Saved, ...] = ()
    leases: bool = False

    @property
    def complete(self) -> Series:
        return tuple([c for c in self.checkpoints if c.health is Health.COMPLETE])

    @property
    def breath(self) -> float:
        """Seconds after a save for which not even demand lets go of anything.

        A trainer that rotates dies of a name that it has listed and cannot stat. It is a part of
        the time between two saves, so that saves however fast do not keep relief away: by their
        times, or as they were seen to come, since copies come faster than their times say.
        """
        seen = [c.age for c in self.complete[-2:] if c.age < inf]
        gap = max(0.0, seen[0] - seen[-1]) if seen else 0.0
        return min(_BREATH, min(self.save_interval_seconds or inf, gap or inf) / 8)

    @property
    def breathing(self) -> float:
        """What is left of `breath` after the newest save."""
        return max(0.0, self.calm - (CALM - self.breath))


@dataclass(frozen=True, slots=True)
class Filesystem:
    """What can be full: what statvfs says of a watch, or a `limit` on a part of what lies there.

    `free` is what an ordinary user may still write (f_bavail). `writes` are the bytes a second
    that others than the runs were seen to write there just now, `grows` those of a good while.
    `limit` says what else bounds it, in words (`capacity`, `quota of user 1000`); then `runs` are
    the paths of those that it bounds, and it is not what statvfs says.
    """

    path: str
    mount: str
    fstype: str
    total: int
    used: int
    free: int
    inodes_total: int
    inodes_free: int
    shared: bool = False
    writes: float = 0.0
    grows: float = 0.0
    limit: str = ""
    runs: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Its path, and what bounds it besides the disk."""
        return f"{self.path} ({self.limit})" if self.limit else self.path

    def bounds(self, run: str, filesystem: str) -> bool:
        """Whether what *run*, which lies on *filesystem*, writes counts here."""
        return run in self.runs if self.limit else filesystem == self.path

    @property
    def usable(self) -> int:
        """Bytes that users may fill: used + free for users, as `df` counts.

        More than a limit allows may be used, where it came later or others write: never more of it.
        """
        usable = self.used + self.free
        return min(self.total, usable) if self.limit else usable

    @property
    def used_percent(self) -> float:
        """Of what is usable; above 100 where a limit is exceeded."""
        return 100 * self.used / self.usable if self.usable else 0.0


@dataclass(frozen=True, slots=True)
class TrashItem:
    """One checkpoint in the trash.

    `place` is the directory that holds `.ckptd-trash`; `run` the absolute path it came from.
    `known` is False when no record tells where it came from: then it is left alone. `trash_for`
    is for how many seconds it was to stay when it came.
    """

    id: str
    place: str
    uid: int
    run: str
    name: str
    step: int | None
    bytes: int
    saved_at: datetime
    trashed_at: datetime
    action: ActionKind
    weights_whole: bool = False
    filesystem: str = ""
    known: bool = True
    reason: str = ""
    trash_for: float = 0.0
    inodes: int = 1

    @property
    def path(self) -> str:
        """Where it lay, and where `restore` puts it."""
        return f"{self.run}/{self.name}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something under a watch that could not be seen, and why.

    `passed_over`: it was seen, and is named like a checkpoint without being one. `uid` is the
    only user besides root who may be told, where the sentence says what others cannot read.
    `unanswered`: its filesystem does not answer, so what was there is there for all we know.
    """

    path: str
    error: str
    passed_over: bool = False
    uid: int | None = None
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """Everything a plan is made from. `frozen` are drop-ins that cannot be obeyed, and why."""

    runs: tuple[Run, ...] = ()
    filesystems: tuple[Filesystem, ...] = ()
    trash: tuple[TrashItem, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    frozen: tuple[Unreadable, ...] = ()
