"""One look at everything: watches to runs, disks, trash, in one World."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ckptd import scan
from ckptd.config import Settings, Watch
from ckptd.errors import UnansweredError
from ckptd.ledger import LedgerView
from ckptd.model import Plan, Run, TrashItem, Unreadable, World
from ckptd.mounts import asked, asked_around, step
from ckptd.observe.experiments import Experiments
from ckptd.observe.gaze import Gaze, Look, as_promised
from ckptd.observe.memory import Memory
from ckptd.observe.obstacles import Obstacles
from ckptd.observe.patience import Patience
from ckptd.observe.watches import is_below, nearest, resolved
from ckptd.policy import Policy


@dataclass(slots=True)
class Eyes:
    """Looks with what was configured, what the ledger knows and what was seen before.

    `launchers` are processes that name a run only because they started us; while
    `command_lives`, every run belongs to a live process (`exec`; None where no COMMAND is ours).
    `wanted` are real paths that COMMAND names, in its words or in a file: it is about to read
    them. `beat` is called between steps of a look; what it raises (StoppedError) ends it there.
    """

    settings: Settings
    ledger: LedgerView
    memory: Memory = field(default_factory=Memory)
    obstacles: Obstacles = field(default_factory=Obstacles)
    launchers: frozenset[int] = frozenset()
    command_lives: bool | None = None
    wanted: frozenset[str] = frozenset()
    beat: Callable[[], None] = lambda: None
    patience: Callable[[], Patience] = Patience

    def look(self, *, users: bool) -> Look:
        """Looks at every watch; *users* asks `/proc` and leases who uses what."""
        gaze = Gaze(self, users=users)
        for watch in gaze.watches:
            gaze.take(watch)
        gaze.keep_in_mind()
        return gaze.look()

    def explain(self, plan: Plan, world: World) -> Plan:
        """*plan*, made of *world*, whose shortfalls name what stands in their way."""
        try:
            return asked_around(
                lambda: self.obstacles.named_in(plan, world, time.monotonic(), self.step), self.beat
            )
        except UnansweredError:  # one that has fallen silent since; what lacks lacks all the same
            return plan

    def look_at(self, run: Run) -> tuple[Run, Policy] | None:
        """One run again, with everyone who uses it, and the policy that holds for it now.

        None when it is gone or cannot be seen. UnansweredError.
        """
        gaze = Gaze(self, users=True)
        watch = nearest(run.path, gaze.watches)
        return gaze.at(run.path, watch) if watch else None

    def policy_of(self, item: TrashItem) -> Policy:
        """The policy that holds at this moment for what lies in the trash. UnansweredError."""
        watch = nearest(item.run, self.watches()) or Watch(item.place)
        experiments = Experiments(self.settings, self.memory.drop_ins)
        return asked(
            item.place,
            lambda: as_promised(experiments.of(item.run, item.uid, watch).policy, item),
            self.beat,
            roams=True,
        )

    def is_run(self, path: str) -> bool:
        """Whether *path* is a directory that checkpoints land in; no trash may lie there."""
        return scan.find_run(path) is not None

    def watches_of(self, run: str) -> Iterator[str]:
        """The watches that *run* lies in."""
        return (watch.path for watch in self.watches() if is_below(run, watch.path))

    def watches(self) -> tuple[Watch, ...]:
        """The configured watches, each a real path that may not exist yet.

        One that a stranger's link leads to is left out, and one whose filesystem does not answer;
        `Look.world` says so.
        """
        return self.resolved()[0]

    def resolved(self) -> tuple[tuple[Watch, ...], tuple[Unreadable, ...]]:
        """The watches, and those that are left out, and why."""
        return asked_around(lambda: resolved(self.settings.watches), self.beat)

    def step(self) -> None:
        """Between two steps of a look or an act, wherever it is taken: `beat`."""
        step(self.beat)
