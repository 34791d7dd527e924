"""What a check found: how it stands, of which thing, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check came out, best first."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is what was checked, `path` where (empty for the machine); `text` is a sentence.

    `room`: it is about the room on a disk.
    """

    name: str
    path: str
    state: State
    text: str
    room: bool = False


def status(checks: tuple[Check, ...]) -> int:
    """The exit status: 5 too full, 4 something cannot be seen or used, 0 all well."""
    failed = [check for check in checks if check.state is State.FAILED]
    if any(check.room for check in failed):
        return 5
    return 4 if failed else 0
