"""What every room outside sees of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ckptd.policy import Policies


@dataclass(frozen=True, slots=True)
class Watch:
    """A directory tree under ckptd's care.

    `path` is absolute and may be a glob; whoever looks expands it. `named`: it was given as a
    PATH, so its runs are adopted. `mixed_owners`: root may act on files that are not the
    directory owner's.
    """

    path: str
    events: Literal["auto", "inotify", "poll"] = "auto"
    adopt: Literal["new", "all"] = "new"
    named: bool = False
    mixed_owners: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was configured; `source` names where, weakest first."""

    policies: Policies
    watches: tuple[Watch, ...] = ()
    mode: Literal["enforce", "observe"] = "enforce"
    trust: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
