"""The files of the board: their names, who wrote them, and whether that process still lives."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import time
from typing import Any, Final

from ckptd import procs

LARGEST: Final = 64 * 2**20  # bytes of one file; a reader takes no more
NAME: Final = re.compile(r"\.?(?P<uid>\d{1,10})\.(?P<pid>\d{1,10})\.json", re.ASCII)
# A daemon writes at least this often, in seconds.
REWRITTEN: Final = 60.0
# One whose process we cannot ask about (another host or container) lives if it wrote lately.
FRESH: Final = 2.5 * REWRITTEN


def name_of(uid: int, pid: int) -> str:
    """The name of the file that the process *pid* keeps for the user *uid*."""
    return f"{uid}.{pid}.json"


def load(directory: int, name: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises OSError when it cannot be read, ValueError (one sentence) when it is no such object:
    too large, no regular file, not its user's own, no JSON, a number that is not finite.
    """
    # Never blocks, whatever lies there.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=directory), "rb") as file:
        seen = os.fstat(file.fileno())
        match = NAME.fullmatch(name)
        if not stat.S_ISREG(seen.st_mode):
            raise ValueError("it is no regular file")
        if match is None or seen.st_uid not in (0, int(match["uid"])):
            raise ValueError("it belongs to somebody else")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("it is too large")
    return _parsed(content)


def age(directory: int, name: str) -> float:
    """Seconds since the file was written."""
    return time.time() - os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime


def lives(document: dict[str, Any], age: float) -> bool:
    """Whether the daemon that wrote *document* *age* seconds ago still runs."""
    daemon = document["daemon"] if isinstance(document.get("daemon"), dict) else {}
    pid = daemon.get("pid")
    if daemon.get("where") != where() or type(pid) is not int:
        return age < FRESH
    start = procs.began(pid)
    if start is None:
        return _exists(pid) and age < FRESH
    return start == daemon.get("start")


def where() -> str:
    """What process numbers here are numbers of: this boot of this machine, this namespace."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{os.uname().nodename} {file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return os.uname().nodename


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # it is another user's; /proc may be mounted so that we cannot see it
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return pid > 0


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is no JSON") from None
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  the file is wrong, not a type
    return document


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number
