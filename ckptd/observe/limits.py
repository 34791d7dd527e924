"""What bounds a part of a filesystem besides its size: the capacity of a watch, a quota."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ckptd import scan
from ckptd.config import Watch
from ckptd.model import Filesystem, Run, TrashItem
from ckptd.observe.memory import Memory, Weighed
from ckptd.policy.links import Holding
from ckptd.quota import Quota, quotas

# Weighing a tree reads all of it. What is no save there mostly changes slowly: it is weighed anew
# after so many seconds, or where as much of the capacity as this share was written to the disk by
# others, though at most a twentieth of the time.
WEIGHED_FOR: Final = 30.0
NOTICED: Final = 0.01
PAUSE: Final = 20
CAPACITY: Final = "capacity"


@dataclass(frozen=True, slots=True)
class Tenants:
    """Those whose bytes count under a limit: runs, and what of theirs lies in the trash."""

    runs: Sequence[Run]
    trash: Sequence[TrashItem]

    @property
    def paths(self) -> frozenset[str]:
        return frozenset([*(run.path for run in self.runs), *(item.run for item in self.trash)])

    @property
    def bytes(self) -> int:
        saves = Holding(c for run in self.runs for c in run.checkpoints)
        return saves.bytes + sum(item.bytes for item in self.trash)


def capacity_of(watch: Watch, filesystem: Filesystem, tenants: Tenants, others: int) -> Filesystem:
    """The *watch* as something that can be full: its capacity, whatever its disk has.

    *others* are the bytes there that are neither saves nor trash.
    """
    capacity = watch.capacity or 0
    used = others + tenants.bytes
    return replace(
        filesystem,
        path=watch.path,
        total=capacity,
        used=used,
        free=max(0, capacity - used),
        inodes_total=0,
        inodes_free=0,
        limit=CAPACITY,
        runs=tenants.paths,
    )


def quotas_of(filesystem: Filesystem, tenants: Tenants) -> Iterator[Filesystem]:
    """Each quota on *filesystem* that bounds a run of *tenants*, as something that can be full."""
    bounded: dict[Quota, list[Run]] = {}
    for uid, gid in sorted({(run.uid, run.gid) for run in tenants.runs}):
        own = [run for run in tenants.runs if (run.uid, run.gid) == (uid, gid)]
        for quota in quotas(filesystem.path, uid, gid):
            bounded.setdefault(quota, []).extend(own)
    for quota, runs in bounded.items():
        of_user = quota.whose == "user"
        trash = [i for i in tenants.trash if of_user and i.uid == quota.id]
        yield _bounded(filesystem, quota, Tenants(runs, trash).paths)


def _bounded(filesystem: Filesystem, quota: Quota, runs: frozenset[str]) -> Filesystem:
    limited = replace(
        filesystem,
        inodes_total=quota.inodes_limit or 0,
        inodes_free=quota.inodes_free or 0,
        limit=f"quota of {quota.whose} {quota.id}",
        runs=runs,
    )
    if quota.bytes_limit is None or quota.bytes_free is None:
        return limited
    used = quota.bytes_limit - quota.bytes_free
    free = min(quota.bytes_free, filesystem.free)
    return replace(limited, total=quota.bytes_limit, used=used, free=free)


@dataclass(frozen=True, slots=True)
class Scales:
    """Weighs what is no save, not at every look. `monotonic` is the moment of this one."""

    memory: Memory
    monotonic: float
    beat: Callable[[], None]

    def others(self, watch: Watch, tenants: Tenants, strangers: int) -> int:
        """Bytes below *watch* that are neither saves nor trash, as they were a moment ago.

        *strangers* are those on its whole disk: they tell when to weigh again.
        """
        weighed = self.memory.weights.get(watch.path)
        if weighed is None or self._is_stale(weighed, strangers, watch.capacity or 0):
            begun = time.monotonic()
            size = max(0, scan.weigh(watch.path, self.beat) - tenants.bytes)
            took = time.monotonic() - begun
            weighed = Weighed(size, strangers, self.monotonic, took)
            self.memory.weights[watch.path] = weighed
        return weighed.bytes

    def _is_stale(self, weighed: Weighed, strangers: int, capacity: int) -> bool:
        age = self.monotonic - weighed.at
        moved = abs(strangers - weighed.strangers) >= NOTICED * capacity
        return age > WEIGHED_FOR or (moved and age > PAUSE * weighed.took)


def tenants_of(watch: str, place: str, runs: Iterable[Run], trash: Iterable[TrashItem]) -> Tenants:
    """The runs below *watch*, and what lies in the trash of these or of runs that are gone.

    Those of a watch within this one are among them; those on another filesystem than that of
    *place* are not.
    """
    inside = f"{watch.rstrip('/')}/"
    return Tenants(
        [run for run in runs if run.filesystem == place and f"{run.path}/".startswith(inside)],
        [i for i in trash if i.filesystem == place and f"{i.run}/".startswith(inside)],
    )
