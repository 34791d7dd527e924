"""Who uses what: one pass over /proc, then questions about runs and checkpoints.

A process in a container sees a directory under a path of its own; there the directories are
compared, device and inode, besides the paths.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import Final

from ckptd import beneath, mounts
from ckptd.errors import UnansweredError
from ckptd.model import Use
from ckptd.mounts import Mounts
from ckptd.units import show_text

_COMMANDS: Final = frozenset(
    {"watch", "exec", "plan", "apply", "why", "status", "history", "advise", "simulate", "adopt"}
    | {"pin", "unpin", "restore", "archive", "finish", "check", "config", "completion", "install"}
    | {"demo"}
)
_HOW: Final = ("open", "mapped", "cwd", "named")
_DEAD: Final = {b"Z", b"X"}
_GONE: Final = (FileNotFoundError, ProcessLookupError)  # a process may end while it is read
_MOST_ARGUMENTS: Final = 2**20  # bytes of a command line that are read
_LONGEST_PATH: Final = 4095
_DELETED: Final = " (deleted)"  # proc_pid_fd(5)
_MOST_PIECES: Final = 1000  # paths that one argument may name
_TRIES: Final = 3  # to resolve a path
_BETWEEN: Final = re.compile(r"""[\s,;:="'()<>|&{}\[\]]+""")
_LONGEST_COMMAND: Final = 40
# proc_pid_maps(5): address, permissions, offset, device, inode (0: no file), path.
_MAPPED: Final = re.compile(rb"\S+ \S+ \S+ \S+ [1-9]\d* +(/.*)$")

Fact = tuple[str, str, int]  # a path, how it is used, by which pid


@dataclass(frozen=True, slots=True)
class Process:
    """What one process has to do with files. `cwd` is empty where nobody says.

    `elsewhere` is the mount namespace where that is not ours, else empty; `barred` says that
    what it has open is kept from us. Of a `launcher` only open files count.
    """

    pid: int
    command: str
    argv: tuple[str, ...] = ()
    cwd: str = ""
    opened: frozenset[str] = frozenset()
    elsewhere: str = ""
    barred: bool = False
    launcher: bool = False


class Snapshot:
    """What every process had open, worked in and named at one moment."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self._processes = {process.pid: process for process in processes}
        self._seen = _Index(self._processes, self._facts())

    @property
    def blind(self) -> frozenset[int]:
        """Processes of others whose open files are kept from us; what they use is not known."""
        return frozenset(process.pid for process in self._processes.values() if process.barred)

    def uses(self, path: str, *, mapped: bool = True) -> tuple[Use, ...]:
        """Who uses the file or directory at the absolute real *path*, or anything below it.

        Open files first, then *mapped* ones (read when first asked for: about as dear as the
        rest together), working directories and command lines.
        """
        found = self._seen.at_or_below(path)
        if mapped:
            found |= self._mapped.at_or_below(path)
        ranked = sorted((_HOW.index(how), pid) for how, pid in found)
        return tuple(Use(_HOW[rank], pid, self._processes[pid].command) for rank, pid in ranked)

    def _facts(self) -> Iterator[Fact]:
        names = _Names()
        for process in self._processes.values():
            for path in process.opened:
                yield path, "open", process.pid
            if process.launcher:
                continue
            yield process.cwd, "cwd", process.pid
            for path in names.of(process):
                yield path, "named", process.pid

    @cached_property
    def _mapped(self) -> _Index:
        facts = ((path, "mapped", pid) for pid in self._processes for path in _maps(pid))
        return _Index(self._processes, facts)


def look(*, ignore: Collection[int] = ()) -> Snapshot:
    """Who uses what, now. Quick: no more is read than /proc's links and command lines.

    Left out are this process, kernel threads, the dead, and every other ckptd with the wrappers
    that started it (`timeout 60 ckptd apply out`). Processes in *ignore* (our launchers) name a
    run only because they started us: of them only open files count that we did not inherit.
    """
    ours, inherited = _namespace("self"), _opened("self")
    pids = (int(name) for name in os.listdir("/proc") if name.isascii() and name.isdigit())
    return Snapshot(
        process
        for pid in pids
        if pid != os.getpid()
        and (process := _process(pid, ours, inherited if pid in ignore else None)) is not None
    )


@dataclass(frozen=True, slots=True)
class Keeper:
    """A process that has deleted files open: their bytes are free once it has closed them."""

    who: str
    bytes: int


def keepers(*places: str) -> tuple[Keeper, ...]:
    """Who keeps deleted files of the filesystems at *places* from coming free, the largest first.

    A path tells little here: a file in memory has one too, and each container its own.
    """
    found = []
    devices = set(_devices(places))
    for name in os.listdir("/proc"):
        if name.isascii() and name.isdigit() and (size := _kept_by(int(name), devices)):
            with suppress(*_GONE, PermissionError):
                command = _command(int(name), _argv(int(name)))
                found.append(Keeper(f"{command} (pid {name})", size))
    return tuple(sorted(found, key=lambda keeper: -keeper.bytes))


def _devices(places: Iterable[str]) -> Iterator[int]:
    for place in places:
        with suppress(OSError), mounts.reaching(place):
            yield os.stat(place).st_dev


def _kept_by(pid: int, devices: Collection[int]) -> int:
    """Bytes of deleted files of *devices* that process *pid* has open, each file once."""
    sizes: dict[tuple[int, int], int] = {}
    with suppress(OSError):
        here = f"/proc/{pid}/fd"
        for fd in os.listdir(here):
            target = _link(f"{here}/{fd}")
            if target.endswith(_DELETED):
                with suppress(UnansweredError), mounts.reaching(target):
                    seen = os.stat(f"{here}/{fd}")
                    if seen.st_dev in devices:
                        sizes[seen.st_dev, seen.st_ino] = seen.st_blocks * 512
    return sum(sizes.values())


def ancestors() -> frozenset[int]:
    """The pids of our parent, its parent, and so on."""
    found: set[int] = set()
    pid = os.getppid()
    while pid and pid not in found:
        found.add(pid)
        pid = _parent(pid)
    return frozenset(found)


def began(pid: int) -> int | None:
    """When process *pid* began, in ticks since the boot; None when it has ended or is hidden.

    With it a pid means one process: a later one that has the same pid began later.
    """
    stat = _stat(pid)
    return int(stat[19]) if stat and stat[0] not in _DEAD else None


def _parent(pid: int) -> int:
    """0 when it has none, has ended or is hidden. psutil would cost 40 ms of every start."""
    stat = _stat(pid)
    return int(stat[1]) if stat else 0


def _stat(pid: int) -> list[bytes]:
    """proc_pid_stat(5) after the name, which is in brackets and may hold any byte: state, parent..

    Empty where the process has ended or is hidden.
    """
    try:
        return _read(f"/proc/{pid}/stat", 4096).rpartition(b")")[2].split()
    except (*_GONE, PermissionError):
        return []


def booted_at() -> float:
    """When this machine, or the container that we are in, was started: seconds since 1970."""
    import psutil

    with suppress(psutil.Error):  # it is hidden from us
        return psutil.Process(1).create_time()
    return psutil.boot_time()


def give_way() -> None:
    """Lets the trainings have the disk first: lowest best-effort I/O priority of this thread.

    And of those that it starts. Not the idle class: that starves just when the disk fills.
    """
    import psutil

    this = psutil.Process(threading.get_native_id())  # the kernel takes a thread for a process
    this.ionice(psutil.IOPRIO_CLASS_BE, value=7)


# --- reading one process -----------------------------------------------------------------


def _process(pid: int, ours: str, inherited: frozenset[str] | None) -> Process | None:
    """What /proc says of *pid*; None when it is gone, or is another ckptd."""
    try:
        argv = _argv(pid)
        if _is_ckptd(argv):
            return None
        command = _command(pid, argv)
    except PermissionError:  # proc_pid(5), hidepid=1: nothing is told of others' processes
        return Process(pid, "", barred=True)
    except _GONE:
        return None
    launcher = inherited is not None
    try:
        cwd, namespace = _link(f"/proc/{pid}/cwd"), _namespace(pid)
        opened = _opened(pid) - (inherited or frozenset())
    except PermissionError:
        # A kernel thread has no command line, and nothing that it could hide.
        return Process(pid, command, argv, barred=bool(argv), launcher=launcher)
    except _GONE:
        return None
    elsewhere = "" if namespace == ours else namespace
    return Process(pid, command, argv, cwd, opened, elsewhere, launcher=launcher)


def _argv(pid: int) -> tuple[str, ...]:
    raw = _read(f"/proc/{pid}/cmdline", _MOST_ARGUMENTS)
    return tuple(os.fsdecode(token) for token in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def _command(pid: int, argv: tuple[str, ...]) -> str:
    """A short name for people; anything may stand in it, so it is made harmless."""
    name = os.path.basename(argv[0]) if argv else ""
    name = name or os.fsdecode(_read(f"/proc/{pid}/comm", _LONGEST_COMMAND)).strip()
    return show_text(name[:_LONGEST_COMMAND])


def _read(path: str, most: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        chunks = bytearray()
        while len(chunks) < most and (chunk := file.read(most - len(chunks))):
            chunks += chunk
        return bytes(chunks)


def _link(path: str) -> str:
    """Where a link of /proc points; empty when it is gone, or longer than the kernel tells."""
    try:
        return os.readlink(path)
    except _GONE:
        return ""
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return ""


def _namespace(pid: int | str) -> str:
    return _link(f"/proc/{pid}/ns/mnt")


def _opened(pid: int | str) -> frozenset[str]:
    """The paths a process has open; sockets, pipes and the like have none."""
    here = f"/proc/{pid}/fd"
    targets = {_link(f"{here}/{fd}") for fd in os.listdir(here)}
    return frozenset(target for target in targets if target.startswith("/"))


def _maps(pid: int) -> frozenset[str]:
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            # Line by line: a process may map 65,000 files of 4 KB of name each.
            found = {match[1] for line in file if (match := _MAPPED.match(line))}
    except (*_GONE, PermissionError):
        return frozenset()  # ended since, or among the blind
    return frozenset(os.fsdecode(path.replace(rb"\012", b"\n")) for path in found)


# --- command lines -----------------------------------------------------------------------


def _is_ckptd(argv: tuple[str, ...]) -> bool:
    """Whether this is ckptd or starts it. An output directory may be called ckptd as well."""
    return any(
        command in _COMMANDS and os.path.basename(program) == "ckptd"
        for program, command in pairwise(argv)
    )


class _Names:
    """The absolute paths that command lines may name, as they stand and with links resolved.

    The workers of one training share directory and arguments: each is resolved once.
    """

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], frozenset[str]] = {}
        self._directories: dict[str, str] = {}

    def of(self, process: Process) -> Iterator[str]:
        for token in process.argv:
            key = (process.cwd, token)
            if key not in self._tokens:
                self._tokens[key] = frozenset(self._paths(*key))
            yield from self._tokens[key]

    def _paths(self, cwd: str, token: str) -> Iterator[str]:
        _, equals, value = token.partition("=")
        texts = [] if token.startswith("-") else [token]
        texts += [value, value.rpartition("=")[2]] if equals else []
        # A list, a JSON object or the script of `sh -c` may name several.
        pieces = (piece for piece in _BETWEEN.split(token) if "/" in piece)
        texts += islice(pieces, _MOST_PIECES)
        for text in filter(None, texts):
            path = text if text.startswith("/") else cwd and f"{cwd}/{text}"
            if path and len(path) <= _LONGEST_PATH:
                yield "/" + os.path.normpath(path).lstrip("/")
                yield self._resolved(path)

    def _resolved(self, path: str) -> str:
        above, name = os.path.split(path)
        if name in {"", ".", ".."}:
            return _real(path)
        if above not in self._directories:
            self._directories[above] = _real(above)
        real = os.path.join(self._directories[above], name)
        return _real(real) if _is_link(real) else real


def _real(path: str) -> str:
    """*path* without links. As it stands where a link in it cannot be read, or leads on for ever.

    What others name may be swapped while it is read: then once more.
    """
    for _ in range(_TRIES):
        with suppress(OSError, RecursionError):
            return beneath.real(path)
    return "/" + os.path.normpath(path).lstrip("/")


def _is_link(path: str) -> bool:
    with suppress(UnansweredError), mounts.reaching(path):
        return os.path.islink(path)
    return False


# --- finding them again ------------------------------------------------------------------


class _Index:
    """Facts, found by any directory above them."""

    def __init__(self, processes: dict[int, Process], facts: Iterable[Fact]) -> None:
        self._facts = sorted({fact for fact in facts if fact[0]})
        self._places: dict[tuple[int, int], set[tuple[str, int]]] = {}
        known: dict[tuple[str, str], tuple[int, int] | None] = {}
        seen: dict[str, Mounts] = {}
        for path, how, pid in self._facts:
            if namespace := processes[pid].elsewhere:
                if namespace not in seen:
                    seen[namespace] = mounts.of_process(pid)
                for place in _above(path):
                    key = (namespace, place)
                    if key not in known:
                        known[key] = _identity_there(pid, place, seen[namespace])
                    if (identity := known[key]) is not None:
                        self._places.setdefault(identity, set()).add((how, pid))

    def at_or_below(self, path: str) -> set[tuple[str, int]]:
        """How and by whom *path* or something below it is used."""
        inside = path.rstrip("/") + "/"
        found = {
            (how, pid)
            for first, last in ((path, path + "\0"), (inside, inside[:-1] + chr(ord("/") + 1)))
            for _, how, pid in self._facts[self._position(first) : self._position(last)]
        }
        identity = _identity(path) if self._places else None
        return found | self._places.get(identity, set()) if identity else found

    def _position(self, path: str) -> int:
        return bisect_left(self._facts, (path,))


def _above(path: str) -> Iterator[str]:
    """*path* and every directory above it but the root."""
    while len(path) > 1:
        yield path
        path = os.path.dirname(path)


def _identity_there(pid: int, path: str, seen: Mounts) -> tuple[int, int] | None:
    """Of what process *pid*, which sees other mounts than we do, has at *path*."""
    with suppress(UnansweredError), mounts.reaching(path, seen):
        return _identity(f"/proc/{pid}/root{path}")
    return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None  # of whatever kind (a dead mount, no rights): then the paths alone speak
    return stat.st_dev, stat.st_ino
