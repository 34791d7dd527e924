"""What every room outside sees of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ckptd.config.sources import Source

if TYPE_CHECKING:
    from ckptd.policy import Policies


@dataclass(frozen=True, slots=True)
class Watch:
    """A directory tree under ckptd's care.

    `path` is absolute and may be a glob; whoever looks expands it. `named`: it was given as a
    PATH, so its runs are adopted. `mixed_owners`: root may act on files that are not the
    directory owner's. `drop_ins`: the `.ckptd.toml` files in it count. `capacity` (bytes) is what
    may lie there at most; None: what the filesystem says.
    """

    path: str
    events: Literal["auto", "inotify", "poll"] = "auto"
    adopt: Literal["new", "all"] = "new"
    named: bool = False
    mixed_owners: bool = False
    drop_ins: bool = True
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    """Who is told of which `events`, by URLs that hold secrets.

    `at_most_every` is for how many seconds one message about the same thing is enough.
    """

    urls: tuple[str, ...] = field(default=(), repr=False)
    urls_file: str | None = None
    events: tuple[str, ...] = ("pressure", "shortfall", "broken", "diverged", "config")
    at_most_every: float = 3600.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where measures go: the path of a text file, a host and port to listen on, both or none."""

    textfile: str | None = None
    listen: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was configured; `source` names where, weakest first.

    `written` (what the files say) and `given` (what the command line says) are what it was
    resolved from. Settings are equal when they mean the same, wherever that was written.
    """

    policies: Policies
    watches: tuple[Watch, ...] = ()
    mode: Literal["enforce", "observe"] = "enforce"
    trust: tuple[str, ...] = ()
    notify: Notify = field(default_factory=Notify)
    prometheus: Prometheus = field(default_factory=Prometheus)
    source: tuple[str, ...] = ()
    written: Source = field(default_factory=Source, compare=False, repr=False)
    given: Source = field(default_factory=Source, compare=False, repr=False)
