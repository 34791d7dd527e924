"""What one source says (a file, a drop-in, the command line), and all of them put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ckptd.config.lines import Place, place_of
from ckptd.errors import ConfigError, Problem
from ckptd.units import show_text

COMMAND_LINE: Final = "command line"
LARGEST: Final = 2**20
"""Bytes of the largest file that is read as a configuration or a drop-in."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: the key in a file, with its line where known; or the option."""

    source: str
    key: str
    line: int | None = None

    def __str__(self) -> str:
        if self.source == COMMAND_LINE:
            return self.key
        line = f" (line {self.line})" if self.line else ""
        return f"{show_text(self.source)}: {self.key}{line}"


@dataclass(frozen=True, slots=True)
class Said:
    """One value: what it means, how TOML gives it as it was written, and where that was."""

    value: Any
    written: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class Source:
    """The values that were written down, each by its place.

    A place is the steps of a dotted key: `("policy", "keep_last")`, `("disk", "/data", "high")`,
    and for a watch `("watch", PATH, "adopt")`. `names` are the sources it was put together from,
    the weakest first. `problems` make the rest of it void.
    """

    names: tuple[str, ...] = ()
    values: Mapping[Place, Said] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def over(self, weaker: Source) -> Source:
        """Both, where this one wins: key by key, each value whole. Watches add up."""
        return Source(
            weaker.names + self.names,
            {**weaker.values, **self.values},
            (*weaker.problems, *self.problems, *_watched_twice(weaker, self)),
        )

    def of(self, key: str, default: Any = None) -> Any:
        """What the value of a dotted *key* means; *default* where none was written."""
        said = self.values.get(place_of(key))
        return default if said is None else said.value

    def rank(self, place: Place) -> int:
        """How strong the source is that the value at *place* came from; -1 where none was."""
        said = self.values.get(place)
        return -1 if said is None else self.names.index(said.origin.source)

    def tables(self, name: str) -> dict[str, dict[str, Any]]:
        """The values of `[name."PATH"]`, or of all `[[watch]]`, by path and key."""
        found: dict[str, dict[str, Any]] = {}
        for place, said in self.values.items():
            if place[0] == name and len(place) == 3:
                found.setdefault(str(place[1]), {})[str(place[2])] = said.value
        return found


def _watched_twice(weaker: Source, stronger: Source) -> Iterator[Problem]:
    for place, said in stronger.values.items():
        if place[0] == "watch" and place[2] == "path" and place in weaker.values:
            yield twice(place, weaker.values[place], said)


def twice(place: Place, earlier: Said, later: Said) -> Problem:
    """Two that cannot both be meant: a watch of the same path, a mark of the same filesystem."""
    what = "is watched twice" if place[0] == "watch" else f"has a {place[-1]} twice"
    text = f"{show_text(str(place[1]))} {what}, here and in {earlier.origin}"
    return Problem(str(later.origin), text, "keep one")


def put_together(sources: Iterable[Source]) -> Source:
    """All *sources*, the weakest first, as one; its problems are those of all."""
    together = Source()
    for source in sources:
        together = source.over(together)
    return together


def sound(source: Source) -> Source:
    """*source* itself. Raises ConfigError with its problems if it has any."""
    if source.problems:
        raise ConfigError(source.problems)
    return source
