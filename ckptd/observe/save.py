"""One save as it is found: its bytes, who has it open, since when it is as it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from ckptd import beneath, scan
from ckptd.config import Watch
from ckptd.errors import UnreadableError
from ckptd.formats.base import Claim, Format
from ckptd.model import Filesystem, Findings, Identity, Saved, Tree
from ckptd.observe.memory import Key, Memory
from ckptd.policy import Policy
from ckptd.procs import Snapshot
from ckptd.units import show_text

# No lease can tell whether it is still open (not ours, or a filesystem without leases).
UNKNOWN: Final = "?"
# Seconds that a lease of another ckptd is over within.
_A_PROBE: Final = 0.002

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Moment:
    """When a look is taken: for people and file times, and for ages."""

    now: datetime
    monotonic: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run is seen in. `snapshot` is None while nobody asked who uses what.

    `past` tells the saves of a run that the ledger remembers, oldest first; `is_over` whether the
    runs of a user have had all the time that this look has for them.
    """

    watch: Watch
    policy: Policy
    filesystem: Filesystem
    trust: tuple[str, ...]
    at: Moment
    snapshot: Snapshot | None
    command_lives: bool | None = None
    policy_from: tuple[str, ...] = ()
    wanted: frozenset[str] = frozenset()
    beat: Callable[[], None] = lambda: None
    past: Callable[[str], tuple[Saved, ...]] = lambda _: ()
    is_over: Callable[[int], bool] = lambda _: False

    def wants(self, path: str) -> bool:
        """Whether COMMAND names *path* or something below it."""
        return any(f"{wanted}/".startswith(f"{path}/") for wanted in self.wanted)

    def is_of_command(self, run: str) -> bool:
        """Whether COMMAND, and nobody else, is what trains in *run*.

        Where exec is given a directory of many runs, others may train there besides.
        """
        return self.command_lives is not None and (run == self.watch.path or self.wants(run))


@dataclass(frozen=True, slots=True)
class Save:
    """One claim as it was found, before it is judged.

    `writer` is a file that somebody has open for writing, or UNKNOWN; `quiet` the seconds since
    anything in it changed. `open_somewhere` is None where no lease can tell.
    """

    format: Format
    claim: Claim
    tree: Tree
    identity: Identity
    findings: Findings
    quiet: float
    writer: str | None
    pinned: bool
    locked: bool
    open_somewhere: bool | None


def find(
    run_fd: int, run: str, claimed: tuple[Format, Claim], around: Surroundings, memory: Memory
) -> Save | None:
    """The save that *claimed* stands for in the open *run*; None when it has gone meanwhile.

    Raises UnreadableError when it cannot be seen.
    """
    name = claimed[1].name
    try:
        tree = scan.tree(run_fd, name)
        fd = beneath.open_beneath(run_fd, name)
    except UnreadableError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    except FileNotFoundError:
        return None
    except OSError as error:
        path = show_text(f"{run}/{name}")
        raise UnreadableError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        return _look(fd, (run, name), claimed, tree, around, memory)
    except OSError as error:
        path = show_text(f"{run}/{name}")
        raise UnreadableError(f"{path} cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)


def _look(
    fd: int,
    key: Key,
    claimed: tuple[Format, Claim],
    tree: Tree,
    around: Surroundings,
    memory: Memory,
) -> Save:
    format_, claim = claimed
    identity = scan.identity(tree)
    seen = memory.sightings.get(key)
    same = seen if seen and seen.identity == identity else None
    quiet = memory.quiet(key, identity, around.at.monotonic)
    shared = around.filesystem.shared  # there a lease proves nothing, and NFSv4 says in use
    asked = around.snapshot is not None
    return Save(
        format_,
        claim,
        tree,
        identity,
        findings=same.findings if same else format_.inspect(claim, tree, scan.peek(fd)),
        quiet=_age(tree, around.at) if quiet is None else quiet,
        writer=None
        if same and same.complete
        else UNKNOWN
        if shared
        else _lasting(partial(_writer, fd, tree)),
        pinned=beneath.pinned(fd),
        locked=asked and _lasting(partial(beneath.locked, fd)),
        open_somewhere=opened(fd, tree) if asked and not shared else None,
    )


def _writer(fd: int, tree: Tree) -> str | None:
    """The first file that a process has open for writing; UNKNOWN where no lease can tell."""
    known = True
    for entry in tree.files:
        answer = _leased(fd, entry.path, write_only=True)
        if answer:
            return entry.path
        known = known and answer is not None
    return None if known else UNKNOWN


def opened(fd: int, tree: Tree) -> bool | None:
    """Whether some process has a file open; None where no lease can tell of one of them.

    Ask on local filesystems only.
    """
    return _lasting(partial(_opened, fd, tree))


def _opened(fd: int, tree: Tree) -> bool | None:
    answers = {_leased(fd, entry.path, write_only=False) for entry in tree.files}
    return True if True in answers else None if None in answers else False


def _lasting(ask: Callable[[], T]) -> T:
    """What *ask* answers, asked again where that speaks of a user.

    Another ckptd that looks at this moment has each file leased or locked for microseconds; taken
    for a user, it would keep the save for a minute.
    """
    if answer := ask():
        time.sleep(_A_PROBE)
        return ask()
    return answer


def _leased(fd: int, path: str, *, write_only: bool) -> bool | None:
    """`beneath.open_for` of one file; None also where it is gone or not ours to read."""
    try:
        file_fd = beneath.open_file(fd, path)
    except OSError:
        return None
    try:
        return beneath.open_for(file_fd, write_only=write_only)
    finally:
        os.close(file_fd)


def _age(tree: Tree, at: Moment) -> float:
    """Seconds since the newest file time; 0 for times in the future."""
    newest = max((e.mtime_ns for e in tree.entries), default=tree.root.mtime_ns)
    return max(0.0, at.now.timestamp() - newest / 1e9)
