"""A TOML file as a Source: read within bounds, every problem with its line."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from ckptd.config.lines import Place, line_of, lines_of
from ckptd.config.sources import LARGEST, Origin, Said, Source, twice
from ckptd.config.tables import Wrong, foreign_to_drop_ins, validate
from ckptd.config.values import WrongError
from ckptd.config.values import path as absolute
from ckptd.errors import Problem
from ckptd.units import show_text

LONGEST_STEP: Final = 255  # as long as a name on most filesystems
MOST_STEPS: Final = 2_000_000
MOST_TOLD: Final = 100  # more of them are no configuration, and who reads them all?
Foreign = Callable[[Mapping[str, Any]], tuple[Wrong, ...]]


def read(path: str) -> Source:
    """What the file at *path* says. What is wrong with it is in `problems`, never raised."""
    path = os.path.abspath(path)
    try:
        raw = _bytes(path)
    except WrongError as wrong:
        return _void(path, wrong)
    except OSError as error:
        return _void(path, WrongError(f"it cannot be read: {error.strerror}"))
    return _parsed(path, raw)


def drop_in(path: str, raw: bytes) -> Source:
    """What a drop-in at *path* says, whose bytes are *raw*; it may set `[policy]` only.

    What is wrong with it is in `problems`, never raised.
    """
    return _parsed(path, raw, foreign_to_drop_ins)


def _parsed(path: str, raw: bytes, foreign: Foreign | None = None) -> Source:
    """The Source of a file in which what is *foreign* is as wrong as what means nothing."""
    try:
        text = _text(raw)
        document = _document(text)
    except WrongError as wrong:
        return _void(path, wrong)
    file = _File(path, document, lines_of(text))
    strange = foreign(document) if foreign else ()
    passed_over = {wrong.place for wrong in strange}
    native = {key: value for key, value in document.items() if (key,) not in passed_over}
    values, found = validate(native)
    if problems := (*strange, *found):
        return Source((path,), problems=_first(path, file.problems(problems), len(problems)))
    return file.source(values)


def _void(path: str, wrong: WrongError) -> Source:
    """The Source of a file that says nothing."""
    return Source((path,), problems=(Problem(show_text(path), wrong.text, wrong.remedy),))


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    document: Mapping[str, Any]
    lines: Mapping[Place, int]

    def origin(self, place: Place) -> Origin:
        dotted = ".".join(_step(step) for step in place if isinstance(step, str))
        return Origin(self.path, dotted, line_of(place, self.lines))

    def problems(self, found: Iterable[Wrong]) -> Iterator[Problem]:
        """In the order of the file."""
        for place, sentence in sorted(found, key=lambda w: line_of(w.place, self.lines) or 0):
            wrong = sentence()
            yield Problem(str(self.origin(place)), wrong.text, wrong.remedy)

    def source(self, values: Mapping[Place, Any]) -> Source:
        found: dict[Place, Said] = {}
        problems: list[Problem] = []
        for place, value in values.items():
            named, said = _named(place, values), self._said(place, value)
            earlier = found.setdefault(named, said)
            if earlier is not said and (place[0] != "watch" or place[2] == "path"):
                problems.append(twice(named, earlier, said))
        return Source((self.path,), found, _first(self.path, problems, len(problems)))

    def _said(self, place: Place, value: object) -> Said:
        written: Any = self.document
        for step in place:
            written = written[step]
        return Said(value, written, self.origin(place))


def _first(path: str, problems: Iterable[Problem], count: int) -> tuple[Problem, ...]:
    """The *problems*, whose number is *count*; of a great many the first."""
    first = tuple(islice(problems, MOST_TOLD))
    if more := count - len(first):
        return (*first, Problem(show_text(path), f"{more} more of its keys are wrong"))
    return first


def _named(place: Place, values: Mapping[Place, Any]) -> Place:
    """The place of a value in a Source: watches go by their path, filesystems by its one form."""
    table, *inside = place
    if table == "watch":
        return (table, values["watch", inside[0], "path"], inside[1])
    if table == "disk" and len(inside) == 2:
        return (table, absolute(inside[0]), inside[1])
    return place


def _step(step: str) -> str:
    shown = show_text(step if len(step) <= LONGEST_STEP else f"{step[:LONGEST_STEP]}...")
    return f'"{shown}"' if "/" in shown or "." in shown else shown


def _document(text: str) -> dict[str, Any]:
    if _steps(text) > MOST_STEPS:
        raise WrongError("its keys are nested too deeply to be a configuration")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise WrongError("it is nested too deeply to be a configuration") from error
    except ValueError as error:  # TOMLDecodeError, and integers of thousands of digits
        raise WrongError(f"it is no TOML: {error}", "mend it; nothing was touched") from error


def _steps(text: str) -> int:
    """A bound on what tomllib does with dotted keys: the square of their steps, and for every
    line below a `[table]` the steps of its name. A hostile file could keep it busy for hours.
    """
    dots = [line.count(".") for line in text.split("\n")]
    return sum(each * each for each in dots) + len(dots) * max(dots)


def _text(raw: bytes) -> str:
    if len(raw) > LARGEST:
        raise WrongError("it is larger than 1 MiB, which no configuration is")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WrongError(f"byte {error.start} of it is no UTF-8, as TOML must be") from error


def _bytes(path: str) -> bytes:
    # Without O_NONBLOCK a FIFO in the file's place would hang the start.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise WrongError("it is not a regular file")
        return file.read(LARGEST + 1)
