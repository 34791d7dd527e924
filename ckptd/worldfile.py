"""A World to and from JSON, so that it can be played elsewhere or sent with a bug report. Pure.

    {"version": 1, "made_at": "2026-01-02T03:04:05+00:00", "world": {"runs": [{"path": …}], …}}

The fields are those of `ckptd.model`, by their names; moments are ISO 8601, numbers that are not
finite the texts `inf`, `-inf` and `nan`. What is not in the file has its default. It holds names,
sizes and times, of files and of processes that use them, and nothing that is inside the files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from ckptd.model import World

VERSION: Final = 1
LARGEST: Final = 2**63  # no file, disk or step is larger
# A time before is no time of a look, and from one after nothing can be counted on.
YEARS: Final = range(1970, 9000)
NOT_FINITE: Final = ("inf", "-inf", "nan")


def write(world: World, made_at: datetime) -> str:
    """*world* as it was at *made_at*, as one JSON document: ASCII alone."""
    document = {"version": VERSION, "made_at": _plain(made_at), "world": _plain(world)}
    return json.dumps(document, indent=1, allow_nan=False)


def read(text: str | bytes) -> tuple[World, datetime]:
    """The world in *text* and when it was so. Raises ValueError with half a sentence."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(document, dict) or "world" not in document:
        raise ValueError('it is no recorded world: nothing in it is called "world"')
    if document.get("version") != VERSION:
        raise ValueError("another version of ckptd wrote it")
    made_at: datetime = _taken(datetime, document.get("made_at"), "made_at")
    if made_at.year not in YEARS:
        raise ValueError(f"made_at is in the year {made_at.year}")
    world: World = _taken(World, document["world"], "world")
    return world, made_at


# --- to JSON -----------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(each) for each in value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else _single(value)


def _single(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# --- from JSON ---------------------------------------------------------------------------


def _taken(kind: Any, value: Any, where: str) -> Any:
    """*value* as a *kind*; ValueError that says *where* it is not one."""
    origin = get_origin(kind) or kind
    if take := _TAKERS.get(origin):
        return take(kind, value, where)
    if is_dataclass(origin):
        return _object(origin, value, where)
    if isinstance(origin, type) and issubclass(origin, Enum):
        return _one_of([each.value for each in origin], value, where, origin)
    # A bool is an int to Python, and to nobody else.
    if type(value) is not kind or (kind is int and abs(value) >= LARGEST):
        raise ValueError(f"{where} is no {_name(kind)}")
    return value


def _object(kind: Any, value: Any, where: str) -> Any:
    given = _mapping(value, where)
    hints, needed = _shape(kind)
    for name in given:
        if name not in hints:
            raise ValueError(f"{where}.{name} is unknown")
    for name in needed:
        if name not in given:
            raise ValueError(f"{where}.{name} is missing")
    return kind(**{n: _taken(hints[n], each, f"{where}.{n}") for n, each in given.items()})


@cache
def _shape(kind: Any) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """What the fields of a class hold, and which of them have no default."""
    needed = (
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    )
    return get_type_hints(kind), tuple(needed)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{where} is no object")


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError(f"{where} is no list")


def _tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    of = get_args(kind)[0]
    return tuple(_taken(of, each, f"{where}[{n}]") for n, each in enumerate(_list(value, where)))


def _frozenset(kind: Any, value: Any, where: str) -> frozenset[Any]:
    return frozenset(_tuple(kind, value, where))


def _by_name(kind: Any, value: Any, where: str) -> dict[str, Any]:
    _, of = get_args(kind)
    return {key: _taken(of, v, f"{where}.{key}") for key, v in _mapping(value, where).items()}


def _union(kind: Any, value: Any, where: str) -> Any:
    """`X | None`, which is the only union there is."""
    of = next(each for each in get_args(kind) if each is not NoneType)
    return None if value is None else _taken(of, value, where)


def _literal(kind: Any, value: Any, where: str) -> Any:
    return _one_of(get_args(kind), value, where, lambda each: each)


def _one_of(allowed: Any, value: Any, where: str, make: Callable[[Any], Any]) -> Any:
    if value not in allowed:
        raise ValueError(f"{where} is not one of {', '.join(map(str, allowed))}")
    return make(value)


def _moment(kind: Any, value: Any, where: str) -> datetime:
    del kind
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where} is no moment such as 2026-01-02T03:04:05+00:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _float(kind: Any, value: Any, where: str) -> float:
    if value in NOT_FINITE or type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) or where.endswith(".age") or ".metrics." in where:
            return number
    raise ValueError(f"{where} is no {_name(kind)}")


def _name(kind: Any) -> str:
    return {str: "text", int: "whole number", float: "number", bool: "truth value"}[kind]


_TAKERS: Final[Mapping[Any, Callable[[Any, Any, str], Any]]] = {
    tuple: _tuple,
    frozenset: _frozenset,
    Mapping: _by_name,
    UnionType: _union,
    Literal: _literal,
    datetime: _moment,
    float: _float,
}
