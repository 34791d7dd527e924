"""The nouns: frozen values that every room hands to the next. No clock, no disk, no logger.

Paths and names are `str` as `os.fsdecode` gives them (bytes that are no UTF-8 survive as
surrogates). Sizes are bytes on disk, spans are seconds, moments are aware datetimes in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MOMENT = datetime(1, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(9999, 12, 31, tzinfo=UTC)
TRASH = ".ckptd-trash"  # the name of the directory, in its place


def moment(nanoseconds: int) -> datetime:
    """The moment that a file time in *nanoseconds* since 1970 names, to the microsecond.

    A time past what a datetime holds (hostile or broken file times) becomes its bound.
    """
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return LAST_MOMENT if nanoseconds > 0 else FIRST_MOMENT


class Kind(StrEnum):
    """What lies under a name."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


class Role(StrEnum):
    """What a file of a checkpoint is for; `slim` and replay depend on it."""

    WEIGHTS = "weights"
    OPTIMIZER = "optimizer"
    RNG = "rng"
    OTHER = "other"


class Health(StrEnum):
    """What is known about a checkpoint's wholeness (DESIGN section 3)."""

    WRITING = "writing"
    COMPLETE = "complete"
    BROKEN = "broken"
    UNPROVEN = "unproven"


class Standing(StrEnum):
    """How firmly a checkpoint is kept, strongest first."""

    HELD = "held"
    FIRM = "firm"
    SOFT = "soft"
    SURPLUS = "surplus"


class ActionKind(StrEnum):
    """One step that ckptd may take; `keep` is the step of taking none."""

    KEEP = "keep"
    EVICT = "evict"
    SET_ASIDE = "set_aside"
    SLIM = "slim"
    ARCHIVE = "archive"
    PURGE = "purge"
    RESTORE = "restore"


# --- what a scan saw ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One name as a scan saw it: lstat, no link followed.

    `path` is relative to the directory that was listed. `allocated` is `st_blocks * 512`.
    """

    path: str
    kind: Kind
    device: int
    inode: int
    size: int
    allocated: int
    links: int
    uid: int
    mode: int
    mtime_ns: int
    target: str | None = None
    ctime_ns: int = 0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Tree:
    """A claimed directory and everything below it; entry paths are relative to it."""

    root: Entry
    entries: tuple[Entry, ...]

    @property
    def files(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.kind is Kind.FILE)

    @property
    def allocated(self) -> int:
        """Bytes on disk, each inode once although it has several names."""
        sizes = {(e.device, e.inode): e.allocated for e in (self.root, *self.entries)}
        return sum(sizes.values())


@dataclass(frozen=True, slots=True)
class Identity:
    """Which bytes these are. Equal identities: nothing inside was added, replaced or rewritten.

    `digest` covers the path, kind, inode, size and mtime of every entry below; the mode, the
    owner and extended attributes are left out, so that a pin changes nothing.
    """

    device: int
    inode: int
    digest: str


# --- what a format recognised ------------------------------------------------------------


class Marker(StrEnum):
    """What the file that a format writes last says about a save."""

    CURRENT = "current"  # there, readable, not older than the rest
    LATE_FILES = "late_files"  # there, but files came after it that its writer orders freely
    STALE = "stale"  # older than the weights: a newer save may have been cut short here
    TORN = "torn"  # there, and cut off or unreadable
    FOREIGN = "foreign"  # readable, but it speaks of another save
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Part:
    """The files of a checkpoint that have one role; `bytes` on disk, each inode once."""

    role: Role
    files: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class RecordedBest:
    """The checkpoint that a trainer's own state names as its best, and by which value."""

    name: str
    step: int | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a format read in one claim. From bytes alone: no clock, no process, no sibling.

    `roles` are the kinds of file present, for comparison between siblings; `damage` holds one
    sentence for each piece of positive evidence; `doubts` what speaks neither way.
    """

    recognised: bool
    step: int | None
    saved_at: datetime
    marker: Marker
    marker_text: str
    parts: tuple[Part, ...] = ()
    damage: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()
    ranks: int = 0
    resumable: bool = False
    weights_whole: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: RecordedBest | None = None
    trainer_limit: int | None = None
    names: frozenset[str] = frozenset()


# --- the world ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """A process that has to do with a checkpoint or a run, and how.

    `how` is `open`, `mapped`, `cwd`, `lock` or `named`; `pid` is 0 where the kernel only says
    that somebody has it (a lease probe names nobody).
    """

    how: str
    pid: int = 0
    command: str = ""

    def of(self, thing: str) -> str:
        """The sentence with *thing* (`it`, `this run`) as what is used."""
        who = f"{self.command} (pid {self.pid})" if self.pid else "a process"
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
    inside it calls its best, `foreign` what a person put into it later.
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

    @property
    def order(self) -> tuple[datetime, int, str]:
        """Oldest first: saved_at, then step, then name (DESIGN section 3, Order)."""
        return (self.saved_at, -1 if self.step is None else self.step, self.name)

    @property
    def complete(self) -> bool:
        return self.health is Health.COMPLETE


Series = tuple[Checkpoint, ...]


@dataclass(frozen=True, slots=True)
class BestMetric:
    """A metric and which end of it is best."""

    metric: str
    mode: Literal["min", "max"]


@dataclass(frozen=True, slots=True)
class Run:
    """One directory that checkpoints of one training land in.

    `best_metric` is what the trainer itself ranks by; `pointers` map a link's name to the
    checkpoint it points at; `calm` is the seconds for which nothing is let go here yet;
    `trainer_limit` is the number that the trainer itself rotates to; `exports` are files of a
    final export lying beside the checkpoints; `mixed_owners` lets root act on files that are not
    the run's owner's. `live` says that a process names or opens it.
    """

    path: str
    watch: str
    filesystem: str
    format: str
    device: int
    inode: int
    uid: int
    checkpoints: Series
    adopted: bool = False
    live: bool = False
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

    @property
    def complete(self) -> Series:
        return tuple(c for c in self.checkpoints if c.complete)


@dataclass(frozen=True, slots=True)
class Filesystem:
    """What statvfs says of a watch. `free` is what an ordinary user may still write (f_bavail)."""

    path: str
    mount: str
    fstype: str
    total: int
    used: int
    free: int
    inodes_total: int
    inodes_free: int
    shared: bool = False

    @property
    def used_percent(self) -> float:
        """As `df` counts: used / (used + free for users), in percent."""
        usable = self.used + self.free
        return 100 * self.used / usable if usable else 0.0


@dataclass(frozen=True, slots=True)
class TrashItem:
    """One checkpoint in the trash.

    `place` is the directory that holds `.ckptd-trash`; `run` the absolute path it came from.
    `known` is False when no record tells where it came from: then it is left alone.
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

    @property
    def path(self) -> str:
        """Where it lay, and where `restore` puts it."""
        return f"{self.run}/{self.name}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something under a watch that could not be seen, and why.

    `passed_over`: it was seen, and is named like a checkpoint without being one.
    """

    path: str
    error: str
    passed_over: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """Everything a plan is made from."""

    runs: tuple[Run, ...] = ()
    filesystems: tuple[Filesystem, ...] = ()
    trash: tuple[TrashItem, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


# --- what is decided ---------------------------------------------------------------------


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
    `purge_now` asks that what is let go is unlinked at once: only that frees space.
    `wait` is the seconds of calm before it may be taken.
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
