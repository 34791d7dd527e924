"""What a format is: names in, claims out; bytes only through a handed-in peek."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from ckptd.model import Entry, Findings, Tree

# A person's file in a checkpoint appears later than anything its trainer still writes there.
WITH_THE_SAVE: Final = timedelta(minutes=1)


class Peek(Protocol):
    """Reads bytes of one claim's files. Bounded, follows no link, opens only regular files."""

    def __call__(self, path: str, offset: int, length: int) -> bytes:
        """At most *length* bytes at *offset* of *path* (relative to the claim's directory).

        Shorter at the end of the file. Raises OSError when it cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Claim:
    """A name in a run that stands for one save, judged from the name alone."""

    name: str
    step: int | None


class Format(Protocol):
    """One framework family. `proven`: seen live or on real trees, in the tests.

    `marker` is the file of a save that is written last; None where there is no such file.
    """

    name: str
    proven: bool
    marker: str | None

    def claims(self, children: Sequence[Entry]) -> Iterable[Claim]:
        """The saves among a directory's own children, by name and kind; no bytes are read."""

    def exports(self, children: Sequence[Entry]) -> tuple[str, ...]:
        """Names of a final export's files among a directory's own children."""

    def inspect(self, claim: Claim, tree: Tree, peek: Peek) -> Findings:
        """What the bytes of *claim* say. Never raises for what it finds in them."""
