"""What /proc says of one process, in bounded reads."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import Final

from ckptd.units import show_text

GONE: Final = (FileNotFoundError, ProcessLookupError)  # a process may end while it is read
_MOST_ARGUMENTS: Final = 2**20  # bytes of a command line that are read
_LONGEST_COMMAND: Final = 40
# proc_pid_maps(5): address, permissions, offset, device, inode (0: no file), path.
MAPPED: Final = re.compile(rb"\S+ \S+ \S+ \S+ [1-9]\d* +(/.*)$")


def pids() -> Iterator[int]:
    """Of every process there is."""
    return (int(name) for name in os.listdir("/proc") if name.isascii() and name.isdigit())


def stat(pid: int) -> list[bytes]:
    """proc_pid_stat(5) after the name, which is in brackets and may hold any byte: state, parent..

    Empty where the process has ended or is hidden.
    """
    try:
        return read(f"/proc/{pid}/stat", 4096).rpartition(b")")[2].split()
    except (*GONE, PermissionError):
        return []


def argv(pid: int) -> tuple[str, ...]:
    raw = read(f"/proc/{pid}/cmdline", _MOST_ARGUMENTS)
    return tuple(os.fsdecode(token) for token in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def command(pid: int, argv: tuple[str, ...]) -> str:
    """A short name for people; anything may stand in it, so it is made harmless."""
    name = os.path.basename(argv[0]) if argv else ""
    name = name or os.fsdecode(read(f"/proc/{pid}/comm", _LONGEST_COMMAND)).strip()
    return show_text(name[:_LONGEST_COMMAND])


def read(path: str, most: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        chunks = bytearray()
        while len(chunks) < most and (chunk := file.read(most - len(chunks))):
            chunks += chunk
        return bytes(chunks)


def link(path: str) -> str:
    """Where a link of /proc points; empty when it is gone, or longer than the kernel tells."""
    try:
        return os.readlink(path)
    except GONE:
        return ""
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return ""


def namespace(pid: int | str) -> str:
    return link(f"/proc/{pid}/ns/mnt")


def opened(pid: int | str) -> frozenset[str]:
    """The paths a process has open; sockets, pipes and the like have none."""
    here = f"/proc/{pid}/fd"
    targets = {link(f"{here}/{fd}") for fd in os.listdir(here)}
    return frozenset(target for target in targets if target.startswith("/"))


def maps(pid: int) -> frozenset[str]:
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            # Line by line: a process may map 65,000 files of 4 KB of name each.
            found = {match[1] for line in file if (match := MAPPED.match(line))}
    except (*GONE, PermissionError):
        return frozenset()  # ended since, or among the blind
    return frozenset(os.fsdecode(path.replace(rb"\012", b"\n")) for path in found)
