"""What is said of a key and of a table, once, in `keys`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ckptd.config.kinds import Kind
from ckptd.config.lines import Place, place_of


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `default` is its value, as TOML has it, where it is not written.

    `about` are the sentences above it in the example file, which shows `example` instead of the
    default where that teaches more. With `help` it is an option as well. What is `secret` is shown
    to nobody.
    """

    name: str
    kind: Kind
    default: Any = None
    about: str = ""
    example: Any = None
    metavar: str = ""
    help: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The keys of one table. `later` are those that only a later version obeys.

    `title` and `about` stand above it in the example file, `more` (TOML) below its keys.
    """

    name: str
    keys: tuple[Key, ...]
    title: str = ""
    about: str = ""
    more: str = ""
    listed: bool = False
    off: tuple[Key, ...] = ()
    later: frozenset[str] = frozenset()

    @property
    def place(self) -> Place:
        return place_of(self.name) if self.name else ()

    def dotted(self, key: Key) -> str:
        """`policy.keep_last`."""
        return f"{self.name}.{key.name}" if self.name else key.name


def dashed(name: str) -> str:
    """The name of a key as options have it: `keep-last`."""
    return name.replace(".", "-").replace("_", "-")
