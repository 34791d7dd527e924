"""Every way ckptd can fail, by meaning.

    CkptdError            a sentence for a person, and the exit status it leads to
    ├── ConfigError       2  the configuration or the command line is wrong
    ├── UnreadableError   4  the world could not be seen, so nothing may be concluded
    │   └── UnansweredError  a filesystem does not answer; what was asked of it may still come
    ├── RefusedError      3  seen, and acting would be wrong
    │   ├── OvertakenError   a trainer or a person came first, and that settles it
    │   └── CrossingError    what was to be moved would leave its filesystem
    ├── ActionError       1  tried, and the system said no
    │   └── NoRoomError      there is no room to do it
    └── LedgerError       1  the durable memory could not be written or read

Each message names the thing, the fact and the consequence; `hint` is the way out.
"""

from __future__ import annotations

from dataclasses import dataclass


class CkptdError(Exception):
    """Base of all failures; `str()` of it is one sentence, ready for a person."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration: where, what, and what to write instead."""

    where: str
    text: str
    remedy: str | None = None

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.where}: {self.text}{remedy}"


class StoppedError(Exception):
    """No failure: ckptd was asked to end, and what was under way ended between two steps.

    An act that it cuts short stays an intent in the ledger; the next start finishes it.
    """


class ConfigError(CkptdError):
    """A configuration that cannot be obeyed. Carries every problem, not the first."""

    exit_status = 2

    def __init__(self, problems: tuple[Problem, ...] | str, *, hint: str | None = None) -> None:
        self.problems = (Problem("usage", problems),) if isinstance(problems, str) else problems
        message = problems if isinstance(problems, str) else "\n".join(map(str, problems))
        super().__init__(message, hint=hint)


class UnreadableError(CkptdError):
    """Something could not be seen. It is never taken for empty."""

    exit_status = 4


class UnansweredError(UnreadableError):
    """A filesystem does not answer. `under_way`: what was asked of it may still be done."""

    def __init__(self, message: str, *, hint: str | None = None, under_way: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.under_way = under_way


class RefusedError(CkptdError):
    """Acting would be wrong: the thing changed, is held, or its place is taken."""

    exit_status = 3


class OvertakenError(RefusedError):
    """A trainer or a person came first: nothing was done, and nothing is left for anybody to do.

    The next look decides anew.
    """


class CrossingError(RefusedError):
    """Moving it would leave its filesystem; unlinking it where it lies would not."""


class ActionError(CkptdError):
    """The system refused a step of an action; nothing was lost by it."""


class NoRoomError(ActionError):
    """Moving it would need room that there is not; unlinking it where it lies needs none."""


class LedgerError(CkptdError):
    """The ledger could not be opened, read or written."""
