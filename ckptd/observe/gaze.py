"""One look under way, and what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, TypeVar

from ckptd import disk, procs, scan, trash
from ckptd.config import Watch
from ckptd.errors import UnansweredError, UnreadableError
from ckptd.model import Filesystem, Run, Saved, TrashItem, Unreadable, World
from ckptd.mounts import asked, asked_around, reaching
from ckptd.observe.experiments import Experiment, Experiments
from ckptd.observe.limits import Scales, Tenants, capacity_of, quotas_of, tenants_of
from ckptd.observe.memory import MOST_SAVES, Others
from ckptd.observe.patience import SPENT
from ckptd.observe.recall import as_its_owner_may_say, recalling
from ckptd.observe.run import see
from ckptd.observe.save import Moment, Surroundings
from ckptd.observe.watches import nearest
from ckptd.policy import Policies, Policy
from ckptd.policy.links import freed_together

if TYPE_CHECKING:
    from ckptd.observe.eyes import Eyes

# A first save is born under a watch when none of its files is older than the look before it.
BIRTH_SLACK: Final = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw: the World, where to watch next, and who was born.

    `directories` are to be watched for arrivals, `writing` for the end of writing; `born` are
    runs whose first save appeared since the look before. `unsure`: some health hangs on who
    uses the run, and nobody asked. `polled`: somewhere events may not tell of all that happens.
    `settling`: a drop-in was written a moment ago, and will be obeyed after `QUIET` seconds.
    `policies` are what is configured, with what drop-ins say; `experiments` the directories that
    hold one.
    """

    world: World
    policies: Policies
    directories: tuple[str, ...]
    writing: tuple[str, ...]
    experiments: tuple[str, ...]
    born: tuple[Run, ...]
    unsure: bool
    polled: bool
    settling: bool


@dataclass(slots=True)
class Sight:
    """What a look has seen so far, of one watch or of all. Words as in `Look`."""

    runs: list[Run] = field(default_factory=list)
    policies: dict[str, Policy] = field(default_factory=dict)
    trash: list[TrashItem] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    filesystems: dict[str, Filesystem] = field(default_factory=dict)  # by watch
    unreadable: list[Unreadable] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    writing: list[str] = field(default_factory=list)
    experiments: list[str] = field(default_factory=list)
    born: list[Run] = field(default_factory=list)
    unsure: bool = False
    polled: bool = False

    def add(self, other: Sight) -> None:
        """Sees *other* as well."""
        for each in fields(self):
            ours, theirs = getattr(self, each.name), getattr(other, each.name)
            lists = isinstance(ours, list)
            setattr(self, each.name, ours + theirs if lists else ours | theirs)

    @property
    def disks(self) -> tuple[Filesystem, ...]:
        """Each filesystem once."""
        return tuple({fs.path: fs for fs in self.filesystems.values()}.values())


class Gaze:
    """One look under way."""

    def __init__(self, eyes: Eyes, *, users: bool) -> None:
        self._eyes = eyes
        self._at = Moment(datetime.now(UTC), time.monotonic())
        self._snapshot = self._users() if users else None
        self._sight = Sight()
        self.watches, astray = eyes.resolved()
        self._sight.unreadable += astray
        self._experiments = Experiments(eyes.settings, eyes.memory.drop_ins)
        self._patience = eyes.patience()

    def _users(self) -> procs.Snapshot:
        eyes = self._eyes
        return asked_around(lambda: procs.look(ignore=eyes.launchers), eyes.beat)

    def take(self, watch: Watch) -> None:
        """Looks at one watch; one that cannot be seen does not keep us from the others."""
        sight = Sight()
        try:
            asked(watch.path, lambda: self._at_watch(watch, sight), self._eyes.beat, roams=True)
        except UnreadableError as error:
            unanswered = isinstance(error, UnansweredError)
            if unanswered:
                sight = Sight()  # the one that was begun may still be written into
            sight.unreadable.append(Unreadable(watch.path, str(error), unanswered=unanswered))
        self._sight.add(sight)

    def at(self, run: str, watch: Watch) -> tuple[Run, Policy] | None:
        """The run at the path *run* alone, and the policy on it. UnansweredError."""
        sight = Sight()

        def seen() -> None:
            if found := scan.find_run(run):
                self._at_run_in_time(found, watch, sight)

        asked(run, seen, self._eyes.beat, roams=True)
        return (sight.runs[0], sight.policies[run]) if sight.runs else None

    def _at_watch(self, watch: Watch, sight: Sight) -> None:
        survey = scan.find_runs(watch.path, beat=self._eyes.step)
        sight.directories += (watch.path, *survey.directories)
        sight.polled = sight.polled or _needs_polling(watch)
        sight.unreadable += survey.unreadable
        if not os.path.isdir(watch.path):
            return
        sight.watches.append(watch)
        seen = {run.path for run in self._sight.runs}
        for found in survey.runs:
            if found.path not in seen and nearest(found.path, self.watches) is watch:
                self._at_run_in_time(found, watch, sight)
        recall = recalling(self._eyes.ledger)
        listed, strange = trash.below(watch.path, survey.places, recall)
        listed = tuple(map(as_its_owner_may_say, listed))
        place = self._filesystem(watch.path, sight).path
        sight.trash += (replace(item, filesystem=place) for item in listed)
        sight.unreadable += strange
        self._at_drop_ins(survey.experiments, watch, sight)
        for item in listed:
            near = nearest(item.run, self.watches) or watch
            policy = self._experiments.of(item.run, item.uid, near).policy
            known = sight.policies.get(item.run) or self._sight.policies.get(item.run)
            sight.policies[item.run] = as_promised(known or policy, item)

    def _at_drop_ins(self, directories: tuple[str, ...], watch: Watch, sight: Sight) -> None:
        """Notes each, also one that no run lies below yet: what is wrong with it is said early."""
        for directory in directories if watch.drop_ins else ():
            sight.experiments.append(directory)
            with suppress(OSError):
                uid = os.lstat(directory).st_uid
                if self._patience.reads_another(uid):
                    self._experiments.at(directory, uid)

    def _at_run_in_time(self, found: scan.FoundRun, watch: Watch, sight: Sight) -> None:
        if self._patience.is_over(found.uid):
            sight.unreadable.append(Unreadable(found.path, SPENT))
            return
        with self._patience.with_(found.uid):
            self._at_run(found, watch, sight)

    def _at_run(self, found: scan.FoundRun, watch: Watch, sight: Sight) -> None:
        experiment = self._experiments.of(found.path, found.uid, watch)
        sight.policies[found.path] = experiment.policy
        try:
            seen = see(found, self._around(watch, experiment, sight), self._eyes.memory)
        except UnansweredError:
            raise
        except UnreadableError as error:
            sight.unreadable.append(Unreadable(found.path, str(error)))
            return
        if any(lost.error == SPENT for lost in seen.unreadable):
            # Which of the others its newest save names as the best is not known.
            sight.policies[found.path] = replace(experiment.policy, frozen=SPENT)
        named = watch.named or watch.adopt == "all" or experiment.adopted
        run = self._adopt(seen.run, sight, named=named, whole=not seen.unreadable)
        sight.runs.append(run)
        sight.unreadable += seen.unreadable
        sight.writing += seen.writing
        sight.unsure = sight.unsure or seen.unsure

    def keep_in_mind(self) -> None:
        """What the next look is compared with."""
        memory, runs = self._eyes.memory, self._sight.runs
        paths = {run.path for run in runs}
        away = tuple(lost.path for lost in self._sight.unreadable if lost.unanswered)
        memory.forget({(r.path, c.name) for r in runs for c in r.checkpoints}, paths, away)
        born = {run.path for run in self._sight.born}
        judged = {run.path for run in runs if run.path in born or run.checkpoints}
        memory.runs |= {path: path in born for path in judged - memory.runs.keys()}
        memory.looked_at = self._at.now.timestamp()

    def look(self) -> Look:
        sight = self._sight
        filesystems = (*self._disks(), *self._capacities(), *self._quotas())
        world = World(
            tuple(sight.runs),
            filesystems,
            tuple(dict.fromkeys(sight.trash)),
            tuple(dict.fromkeys((*sight.unreadable, *self._experiments.strange.values()))),
            tuple(self._experiments.frozen.values()),
        )
        policies = replace(self._eyes.settings.policies, by_run=sight.policies)
        return Look(
            world,
            policies,
            tuple(dict.fromkeys(sight.directories)),
            tuple(sight.writing),
            tuple(sight.experiments),
            tuple(sight.born),
            sight.unsure,
            sight.polled,
            self._experiments.settling,
        )

    @cached_property
    def _adopted(self) -> Mapping[str, int]:
        """What the ledger knows, asked once in a look: it reads a megabyte of slots for it."""
        return self._eyes.ledger.adopted()

    def _around(self, watch: Watch, experiment: Experiment, sight: Sight) -> Surroundings:
        return Surroundings(
            watch,
            experiment.policy,
            self._filesystem(watch.path, sight),
            self._eyes.settings.trust,
            self._at,
            self._snapshot,
            self._eyes.command_lives,
            experiment.policy_from,
            self._eyes.wanted,
            self._eyes.step,
            self._past,
            self._patience.is_over,
        )

    def _past(self, run: str) -> tuple[Saved, ...]:
        saves = self._eyes.ledger.saves(run, MOST_SAVES)
        return tuple(Saved(s.name, s.step, s.bytes, s.saved_at) for s in saves)

    def _disks(self) -> Iterator[Filesystem]:
        for filesystem in self._sight.disks:
            yield self._filling(filesystem, self._strangers(filesystem))

    def _filling(self, filesystem: Filesystem, size: int) -> Filesystem:
        """*filesystem*, where others than the runs have *size* bytes, and how fast they fill it."""
        others = self._eyes.memory.others.setdefault(filesystem.name, Others())
        now, lasting = (t.pace(self._at.monotonic, size) for t in (others.now, others.lasting))
        return replace(filesystem, writes=now, grows=lasting)

    def _capacities(self) -> Iterator[Filesystem]:
        """The watches that are told what may lie in them."""
        scales = Scales(self._eyes.memory, self._at.monotonic, self._eyes.step)
        for watch in self._sight.watches:
            if watch.capacity is not None:
                place = self._filesystem(watch.path, self._sight)
                runs, trash = self._sight.runs, set(self._sight.trash)
                tenants = tenants_of(watch.path, place.path, runs, trash)
                weigh = partial(scales.others, watch, tenants, self._strangers(place))
                for others in self._if_answered(watch.path, weigh):
                    yield self._filling(capacity_of(watch, place, tenants, others), others)

    def _quotas(self) -> Iterator[Filesystem]:
        for filesystem in self._sight.disks:
            here = [run for run in self._sight.runs if run.filesystem == filesystem.path]
            trash = [i for i in set(self._sight.trash) if i.filesystem == filesystem.path]
            bounds = partial(quotas_of, filesystem, Tenants(here, trash))
            for found in self._if_answered(filesystem.path, bounds):
                yield from found

    def _if_answered(self, path: str, ask: Callable[[], T]) -> Iterator[T]:
        """What *ask* returns of the filesystem of *path*; nothing where that fell silent."""
        try:
            yield asked(path, ask, self._eyes.beat)
        except UnansweredError as error:
            self._sight.unreadable.append(Unreadable(path, str(error), unanswered=True))

    def _strangers(self, filesystem: Filesystem) -> int:
        """Bytes used there that are neither checkpoints nor trash."""
        return filesystem.used - self._held_by_runs(filesystem)

    def _held_by_runs(self, filesystem: Filesystem) -> int:
        """Bytes there that are checkpoints and nothing else, in their runs or in the trash."""
        runs = (run for run in self._sight.runs if run.filesystem == filesystem.path)
        ours = freed_together([c for run in runs for c in run.checkpoints])
        trash = (item for item in set(self._sight.trash) if item.filesystem == filesystem.path)
        return ours + sum(item.bytes for item in trash)

    def _filesystem(self, path: str, sight: Sight) -> Filesystem:
        """The filesystem of a watch; watches on one filesystem share one value."""
        known = self._sight.filesystems | sight.filesystems
        if path not in known:
            measured = disk.measure(path)
            same = (fs for fs in known.values() if _same(fs, measured))
            known[path] = sight.filesystems[path] = next(same, measured)
        return known[path]

    def _adopt(self, run: Run, sight: Sight, *, named: bool, whole: bool) -> Run:
        """*run*, adopted or not; *named*: somebody said so. *whole*: every save could be seen."""
        memory = self._eyes.memory
        if named or self._adopted.get(run.path) == run.inode:
            return replace(run, adopted=True)
        if not memory.runs.get(run.path, whole and _is_born(run, memory.looked_at)):
            return run
        born = replace(run, adopted=True)
        sight.born.append(born)  # at each look, until the ledger knows
        return born


def as_promised(policy: Policy, item: TrashItem) -> Policy:
    """The *policy* on what lies in the trash; its run may have gone, and a drop-in with it."""
    if item.trash_for <= policy.trash_for or _is_there(item.run):
        return policy
    return replace(policy, trash_for=item.trash_for)


def _is_there(run: str) -> bool:
    with suppress(UnansweredError), reaching(run):
        return os.path.isdir(run)
    return False


def _needs_polling(watch: Watch) -> bool:
    if watch.events == "auto":
        return disk.events_arrive(watch.path) != "inotify"
    return watch.events == "poll"


def _is_born(run: Run, looked_at: float | None) -> bool:
    """Whether the first save of a new run appeared since the last look (None: there was none).

    A run that was moved or copied in keeps its old times.
    """
    if looked_at is None or not run.checkpoints:
        return False
    return all(c.saved_at.timestamp() >= looked_at - BIRTH_SLACK for c in run.checkpoints)


def _same(one: Filesystem, other: Filesystem) -> bool:
    """Whether two measurements are of one filesystem: a project quota shows another total."""
    return one.mount == other.mount and one.total == other.total
