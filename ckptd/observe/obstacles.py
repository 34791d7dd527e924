"""What stands in the way of room: the largest things on a filesystem that nobody may let go of."""

from __future__ import annotations

import os
import pwd
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from heapq import nlargest
from typing import Final

from ckptd import beneath, scan
from ckptd.errors import RefusedError, UnansweredError
from ckptd.model import TRASH, Obstacle, Plan, Relief, RunPlan, Standing, Verdict, World
from ckptd.mounts import now, reaching
from ckptd.policy.links import Holding
from ckptd.trash import opened

MOST: Final = 5
# Smaller things are in nobody's way: a share of what is missing.
LEAST: Final = 0.02
# Weighing takes long, and what lies there changes slowly: for so many seconds it is remembered, and
# so long it may last.
WEIGHED_FOR: Final = 600.0
LONGEST: Final = 3.0
_CACHES: Final = (".cache/huggingface", ".cache/modelscope", ".cache/torch")
_MENDABLE: Final = {"pinned": "pinned", "in_use": "in use"}
_STRANGE: Final = "no checkpoint that ckptd knows"
_CACHE: Final = "a cache of models and datasets"


@dataclass(slots=True)
class Obstacles:
    """Finds them when they are asked for, and remembers what it weighed for a while."""

    weighed: dict[str, tuple[float, tuple[Obstacle, ...]]] = field(default_factory=dict)

    def named_in(
        self, plan: Plan, world: World, monotonic: float, beat: Callable[[], None]
    ) -> Plan:
        """*plan* whose shortfalls name what stands in their way, the largest first."""
        if not any(need.shortfall for need in plan.filesystems):
            return plan
        named = tuple(
            replace(need, in_the_way=self._of(need, plan, world, monotonic, beat))
            if need.shortfall
            else need
            for need in plan.filesystems
        )
        return replace(plan, filesystems=named)

    def _of(
        self, need: Relief, plan: Plan, world: World, monotonic: float, beat: Callable[[], None]
    ) -> tuple[Obstacle, ...]:
        name = need.filesystem.name
        when, strange = self.weighed.get(name, (float("-inf"), ()))
        if monotonic - when > WEIGHED_FOR:
            strange = tuple(_strangers(need, world, beat))
            self.weighed[name] = (monotonic, strange)
        here = [p for p in plan.runs if need.filesystem.bounds(p.run.path, p.run.filesystem)]
        found = [*_kept(here), *strange]
        large = (each for each in found if each.bytes >= LEAST * need.shortfall)
        return tuple(nlargest(MOST, large, key=lambda each: each.bytes))


def _kept(run_plans: Iterable[RunPlan]) -> Iterator[Obstacle]:
    """What each run keeps, and why it may."""
    for run_plan in run_plans:
        kept = [v for v in run_plan.verdicts if v.standing in (Standing.HELD, Standing.FIRM)]
        if kept:
            count = f"{len(kept)} checkpoint{'' if len(kept) == 1 else 's'}"
            adopted = run_plan.run.adopted
            why = f"kept even under pressure{_holds(kept)}" if adopted else "not adopted"
            size = Holding(v.checkpoint for v in kept).bytes
            yield Obstacle(run_plan.run.path, size, f"{count}, {why}")


def _holds(kept: Iterable[Verdict]) -> str:
    """`: 2 pinned, 1 not whole`, what a person can do something about; else empty."""
    counts = Counter(hold for verdict in kept for hold in _mendable(verdict))
    return f": {', '.join(f'{count} {hold}' for hold, count in counts.items())}" if counts else ""


def _mendable(verdict: Verdict) -> Iterator[str]:
    rules = {reason.rule for reason in verdict.reasons}
    yield from (word for rule, word in _MENDABLE.items() if rule in rules)
    if not verdict.checkpoint.complete:
        yield "not whole"


# --- what is no checkpoint ---------------------------------------------------------------


def _strangers(need: Relief, world: World, beat: Callable[[], None]) -> Iterator[Obstacle]:
    """Files and directories in the watches there, and caches in the homes of their users."""
    runs = [run for run in world.runs if need.filesystem.bounds(run.path, run.filesystem)]
    ours = frozenset(c.path for run in runs for c in run.checkpoints)
    above = frozenset(place for run in runs for place in _at_and_above(run.path))
    budget = _Budget(time.monotonic() + LONGEST, beat)
    for watch in dict.fromkeys(run.watch for run in runs):
        yield from _below(watch, ours, above, budget)
    device = next((run.device for run in runs), None)
    for home in sorted({home for run in runs if (home := _home(run.uid))}):
        for name in _CACHES:
            with suppress(OSError, RefusedError, UnansweredError):
                cache = beneath.resolve(os.path.join(home, name))
                with reaching(cache):
                    seen = os.lstat(cache)
                if seen.st_dev == device:
                    yield Obstacle(cache, scan.weigh(cache, budget.spend), _CACHE)


def _below(
    top: str, ours: frozenset[str], above: frozenset[str], budget: _Budget
) -> Iterator[Obstacle]:
    """What lies at or below *top*: directories whole, but those that have runs in them."""
    waiting = [top]
    while waiting and not budget.is_spent:
        place = waiting.pop()
        for name, seen in _names(place):
            path = os.path.join(place, name)
            if name == TRASH or path in ours:
                continue
            if path in above and stat.S_ISDIR(seen.st_mode):
                waiting.append(path)
            else:
                yield Obstacle(path, _weight(path, seen, budget), _STRANGE)


def _names(place: str) -> Sequence[tuple[str, os.stat_result]]:
    """By descriptor: a path may lead over a link by now, into what is somebody else's."""
    mounted = now().points_in(place)
    found = []
    with (
        suppress(OSError, UnansweredError),
        reaching(place),
        opened(beneath.open_directory(place)) as fd,
        os.scandir(fd) as entries,
    ):
        for entry in entries:
            if entry.name not in mounted:
                with suppress(OSError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found


def _weight(path: str, seen: os.stat_result, budget: _Budget) -> int:
    if stat.S_ISDIR(seen.st_mode):
        return scan.weigh(path, budget.spend)
    return seen.st_blocks * 512


@dataclass(slots=True)
class _Budget:
    """Until which monotonic time is weighed; beyond it things weigh what was seen so far."""

    until: float
    beat: Callable[[], None]

    @property
    def is_spent(self) -> bool:
        return time.monotonic() > self.until

    def spend(self) -> None:
        self.beat()
        if self.is_spent:
            raise OSError("weighed enough")


def _home(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return None


def _at_and_above(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = os.path.dirname(path)
