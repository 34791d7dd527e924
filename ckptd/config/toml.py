"""A TOML file as a Source: read within bounds, every problem with its line."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ckptd.config.lines import Place, line_of, lines_of
from ckptd.config.settings import Watch
from ckptd.config.sources import Source
from ckptd.config.tables import Whole, flat, validate
from ckptd.config.values import WrongError
from ckptd.errors import Problem
from ckptd.units import show_text

LARGEST: Final = 2**20


def read(path: str) -> Source:
    """What the file at *path* says. What is wrong with it is in `problems`, never raised."""
    path = os.path.abspath(path)
    name = show_text(path)
    try:
        text = _text(path)
        document = _document(text)
    except WrongError as wrong:
        return Source((path,), problems=(Problem(name, wrong.text, wrong.remedy),))
    file = _File(name, lines_of(text))
    whole, found = validate(document)
    if whole is None:
        in_order = sorted(found, key=lambda each: line_of(each[0], file.lines) or 0)
        problems = tuple(Problem(file.where(place), w.text, w.remedy) for place, w in in_order)
        return Source((path,), problems=problems)
    return _source(path, whole, file)


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    lines: Mapping[Place, int]

    def where(self, place: Place) -> str:
        dotted = ".".join(_step(step) for step in place if isinstance(step, str))
        line = line_of(place, self.lines)
        return f"{self.name}: {dotted}" + (f" (line {line})" if line else "")


def _step(step: str) -> str:
    shown = show_text(step)
    return f'"{shown}"' if "/" in shown or "." in shown else shown


def _source(path: str, whole: Whole, file: _File) -> Source:
    document = whole["file"]
    values = flat(document)
    where = {key: file.where(tuple(key.split("."))) for key in values}
    where |= {f'disk."{fs}"': file.where(("disk", fs)) for fs in whole["filesystems"]}
    watches = tuple(_watch(table) for table in document.get("watch", ()))
    return Source(
        (path,),
        values,
        where,
        watches,
        _tables(whole),
        _repeated(watches, file),
    )


def _watch(table: Mapping[str, Any]) -> Watch:
    return Watch(**table)


def _tables(whole: Whole) -> dict[str, dict[str, Any]]:
    return {path: dict(table.items()) for path, table in whole["filesystems"].items()}


def _repeated(watches: tuple[Watch, ...], file: _File) -> tuple[Problem, ...]:
    paths = [watch.path for watch in watches]
    return tuple(
        Problem(
            file.where(("watch", at, "path")), f"{show_text(path)} is watched twice", "keep one"
        )
        for at, path in enumerate(paths)
        if path in paths[:at]
    )


def _document(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise WrongError("it is nested too deeply to be a configuration") from error
    except ValueError as error:  # TOMLDecodeError, and integers of thousands of digits
        raise WrongError(f"it is no TOML: {error}", "mend it; nothing was touched") from error


def _text(path: str) -> str:
    try:
        raw = _bytes(path)
    except OSError as error:
        raise WrongError(f"it cannot be read: {error.strerror}") from error
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
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise WrongError("it is larger than 1 MiB, which no configuration is")
    return raw
