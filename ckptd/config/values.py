"""One reader for each key: what a value means, or the sentence that says why it means nothing.

The TOML file and the command line share them. They take what TOML gives (text, number, list,
table) and raise WrongError.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, cast

from ckptd.units import Share, parse_bytes, parse_duration, parse_mark

UNLIMITED: Final = "unlimited"
MOST: Final = 10**12  # TOML bounds no integer; more digits than this are a slip of the hand


class WrongError(ValueError):
    """A value that cannot be obeyed: the sentence, and what to write instead."""

    def __init__(self, text: str, remedy: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Best:
    """A `keep_best` as it was written; 0 switches it off."""

    count: int
    metric: str | None = None
    mode: Literal["min", "max"] | None = None


def keep_last(value: object) -> int | None:
    """How many; None is unlimited, 0 switches the rule off."""
    if value == UNLIMITED:
        return None
    return _count(value, 'a number, or "unlimited" to keep all', negative=f'write "{UNLIMITED}"')


def keep_every_steps(value: object) -> int:
    """Every how many steps; 0 switches the rule off."""
    return _count(value, "a number of steps such as 1000, or 0 to switch it off")


def keep_best(value: object) -> Best:
    """A count, or a table of count, metric and mode."""
    if not isinstance(value, Mapping):
        return Best(_best_count(value))
    for key in value:
        if key not in ("count", "metric", "mode"):
            raise WrongError(f"{key!r} is no key of it", "it takes count, metric and mode")
    metric = None if value.get("metric") is None else word(value["metric"])
    mode = None if value.get("mode") is None else one_of("min", "max")(value["mode"])
    count = _best_count(value.get("count", 1))
    if mode and not metric:
        raise WrongError("mode without a metric says nothing", "name the metric, or leave mode out")
    return Best(count, metric, cast("Literal['min', 'max'] | None", mode))


def _best_count(value: object) -> int:
    return _count(value, 'a number, or a table such as { count = 2, metric = "eval_loss" }')


def _count(value: object, wanted: str, *, negative: str = "write 0 to switch it off") -> int:
    if type(value) is not int:  # a bool is an int for isinstance
        raise WrongError(f"{_shown(value)} is not {wanted}")
    if value < 0:
        raise WrongError(f"{max(value, -MOST)} is negative, and counts are not", negative)
    if value > MOST:
        raise WrongError(f"more than {MOST} is no count")
    return value


def duration(value: object) -> float:
    """Seconds."""
    return parse_duration(_measure(value, "s", 'a duration such as "90s", "10min" or "6h"'))


def size(value: object) -> int:
    """Bytes."""
    return parse_bytes(_measure(value, "GiB", 'a size such as "200GiB"'))


def mark(value: object) -> Share | int:
    """A share of the filesystem, or bytes in use."""
    return parse_mark(_measure(value, "%", 'a percentage such as "85%", or a size in use'))


def _measure(value: object, unit: str, wanted: str) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str) and not value.isdecimal():
        return value
    if number or isinstance(value, str):
        raise WrongError(f"{value} has no unit", f'write "{value}{unit}" if you mean that')
    raise WrongError(f"{_shown(value)} is not {wanted}")


def pin(value: object) -> tuple[str, ...]:
    """Patterns of checkpoint names."""
    patterns = words(value)
    for pattern in patterns:
        if "/" in pattern:
            text = f"{pattern!r} can match nothing: it is compared with a checkpoint's name"
            raise WrongError(text, "leave out the directories")
    return patterns


def words(value: object) -> tuple[str, ...]:
    """A list of texts, none of them empty."""
    if isinstance(value, str):
        raise WrongError(f"{value!r} is not a list", f'write ["{value}"]')
    if not isinstance(value, list):
        raise WrongError(f"{_shown(value)} is not a list of texts")
    return tuple(word(item) for item in value)


def word(value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise WrongError(f"{_shown(value)} is not a text in quotes")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongError(
            f"{_shown(value)} is neither true nor false", "write true or false, no quotes"
        )
    return value


def one_of(*allowed: str) -> Callable[[object], str]:
    """A reader for one of a few words."""

    def choose(value: object) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise WrongError(
            f"{_shown(value)} is not one of {', '.join(allowed)}", nearest(value, allowed)
        )

    return choose


def path(value: object) -> str:
    """An absolute path or glob, `~` expanded."""
    text = word(value)
    if "\0" in text:
        raise WrongError(f"{text!r} holds a zero byte, which no path can")
    expanded = os.path.expanduser(text)
    if not os.path.isabs(expanded):
        raise WrongError(f"{text!r} is not absolute", "begin it with / or ~/")
    return os.path.normpath(expanded)


def nearest(wrong: object, known: object) -> str | None:
    """`did you mean ...?` when something near it is known."""
    found = get_close_matches(str(wrong), list(cast("list[str]", known)), n=1)
    return f"did you mean {found[0]}?" if found else None


READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "mode": one_of("enforce", "observe"),
    "keep_last": keep_last,
    "keep_best": keep_best,
    "keep_every_steps": keep_every_steps,
    "pin": pin,
    "min_age": duration,
    "settle": duration,
    "broken_after": duration,
    "trash_for": duration,
    "finished_after": duration,
    "high": mark,
    "low": mark,
    "hard": mark,
    "max_headroom": size,
}


def from_text(key: str, text: str) -> object:
    """What a command line's *text* would be in TOML, for the last word of a key."""
    if key == "keep_best":
        return _best_from_text(text)
    if key.startswith("keep_"):
        return _number(text)
    return text


def _best_from_text(text: str) -> object:
    count, *named = text.split(":")
    if not named:
        return _number(count)
    if len(named) > 2:
        raise WrongError(
            f"{text!r} has too many colons", "write COUNT:METRIC:MODE, as 2:eval_loss:min"
        )
    return {"count": _number(count), **dict(zip(("metric", "mode"), named, strict=False))}


def _number(text: str) -> object:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
