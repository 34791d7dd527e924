"""What one source says (a file, the command line), and what holds when they are put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ckptd.config.options import OPTIONS
from ckptd.config.settings import Watch
from ckptd.config.values import READERS, WrongError, from_text
from ckptd.errors import ConfigError, Problem
from ckptd.units import Share

Tables = Mapping[str, Mapping[str, Share | int]]

COMMAND_LINE: Final = "command line"


@dataclass(frozen=True, slots=True)
class Source:
    """The values that were written down, by their dotted key (`policy.keep_last`).

    `where` says for a key where it stands; `filesystems` are the marks of `[disk."/path"]`;
    `problems` make the rest of it void.
    """

    names: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    watches: tuple[Watch, ...] = ()
    filesystems: Tables = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def over(self, weaker: Source) -> Source:
        """Both, where this one wins: key by key, each value whole, watches added up."""
        return Source(
            weaker.names + self.names,
            {**weaker.values, **self.values},
            {**weaker.where, **self.where},
            weaker.watches + self.watches,
            {**_without(weaker.filesystems, self.values), **self.filesystems},
            weaker.problems + self.problems,
        )


def _without(filesystems: Tables, stronger: Mapping[str, Any]) -> Tables:
    """A stronger source's mark for every filesystem also wins over the one for a single one."""
    return {
        path: {key: mark for key, mark in table.items() if f"disk.{key}" not in stronger}
        for path, table in filesystems.items()
    }


def choices(sources: Iterable[Source]) -> Source:
    """All *sources*, the weakest first, as one. Raises ConfigError with the problems of all."""
    together = Source()
    for source in sources:
        together = source.over(together)
    if together.problems:
        raise ConfigError(together.problems)
    return together


def of_options(options: Mapping[str, str | list[str]]) -> Source:
    """What texts from the command line, by `Option.key`, mean."""
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    problems: list[Problem] = []
    for option in OPTIONS:
        if option.key not in options:
            continue
        where[option.key] = f"--{option.name}"
        try:
            values[option.key] = _value(option.key, options[option.key])
        except WrongError as wrong:
            problems.append(Problem(where[option.key], wrong.text, wrong.remedy))
        except ValueError as error:
            problems.append(Problem(where[option.key], str(error)))
    return Source((COMMAND_LINE,), values, where, problems=tuple(problems))


def _value(key: str, given: str | list[str]) -> object:
    last = key.rpartition(".")[2]
    written = from_text(last, given) if isinstance(given, str) else given
    return READERS[last](written)
