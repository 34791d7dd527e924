"""One reader for each key: what a value means, or the sentence that says why it means nothing.

TOML files and the command line share them. They take what TOML gives (text, number, list,
table) and raise WrongError.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from ckptd.model import EVENTS
from ckptd.units import (
    Share,
    Span,
    parse_bytes,
    parse_duration,
    parse_mark,
    parse_span,
    show_text,
)

UNLIMITED: Final = "unlimited"
MOST_PATTERNS: Final = 1000  # each is tried on every checkpoint at every look
AUTO: Final = "auto"
URL: Final = r"^[A-Za-z][A-Za-z0-9+.-]*://\S+$"
MOST_URLS: Final = 20  # each has a thread of its own
LOOPBACK: Final = "127.0.0.1"
MOST: Final = 10**12  # TOML bounds no integer; more digits than this are a slip of the hand
LONGEST_SHOWN: Final = 60
_TOML: Final[Mapping[type, str]] = {dict: "table"}


class WrongError(ValueError):
    """A value that cannot be obeyed: the sentence, and what to write instead."""

    def __init__(self, text: str, remedy: str | None = None) -> None:
        super().__init__(text)
        self.text = show_text(text)
        self.remedy = remedy and show_text(remedy)

    @classmethod
    def of(cls, error: ValueError) -> WrongError:
        """*error* as one of these; its text is a sentence."""
        return error if isinstance(error, cls) else cls(str(error))


@dataclass(frozen=True, slots=True)
class Best:
    """A `keep_best` as it was written; 0 switches it off."""

    count: int
    metric: str | None = None
    mode: Literal["min", "max"] | None = None


def how_many(value: object) -> int | None:
    """A count; None is unlimited, 0 switches the rule off."""
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
            raise WrongError(f"{_shown(key)} is no key of it", "it takes count, metric and mode")
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


def span(value: object) -> Span:
    """On the calendar; `0s` switches the rule off."""
    return parse_span(_measure(value, "h", 'a span such as "6h", "7d" or "1y2month"'))


def size(value: object) -> int:
    """Bytes."""
    return parse_bytes(_measure(value, "GiB", 'a size such as "200GiB"'))


def size_or(word: str) -> Callable[[object], int | None]:
    """A reader for bytes; None is what *word* says."""

    def read(value: object) -> int | None:
        if value == word:
            return None
        return parse_bytes(_measure(value, "GiB", f'a size such as "200GiB", or "{word}"'))

    return read


def mark(value: object) -> Share | int:
    """A share of the filesystem, or bytes in use."""
    return parse_mark(_measure(value, "%", 'a percentage such as "85%", or a size in use'))


def _measure(value: object, unit: str, wanted: str) -> str:
    if isinstance(value, str) and not value.isdecimal() and len(value) <= LONGEST_SHOWN:
        return value
    text = _shown(value).strip("'")
    if text.replace(".", "", 1).isdecimal():
        raise WrongError(f"{text} has no unit", f'write "{text}{unit}" if you mean that')
    raise WrongError(f"{_shown(value)} is not {wanted}")


def pin(value: object) -> tuple[str, ...]:
    """Patterns of checkpoint names."""
    patterns = words(value)
    if len(patterns) > MOST_PATTERNS:
        text = f"{len(patterns)} patterns are more than the {MOST_PATTERNS} that each look can try"
        raise WrongError(text, "write fewer that match more, or use ckptd pin PATH")
    for pattern in patterns:
        if "/" in pattern:
            text = f"{_shown(pattern)} can match nothing: it is compared with a checkpoint's name"
            raise WrongError(text, "leave out the directories")
    return patterns


def words(value: object) -> tuple[str, ...]:
    """A list of texts, none of them empty."""
    if isinstance(value, str):
        raise WrongError(f"{_shown(value)} is not a list", f'write ["{value}"]')
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
        raise WrongError(f"{_shown(text)} holds a zero byte, which no path can")
    expanded = os.path.expanduser(text)
    if not os.path.isabs(expanded):
        raise WrongError(f"{_shown(text)} is not absolute", "begin it with / or ~/")
    return os.path.normpath(expanded)


def textfile(value: object) -> str:
    """An absolute path that node_exporter reads."""
    found = path(value)
    if not found.endswith(".prom"):
        raise WrongError(f"{_shown(found)} does not end in .prom, and node_exporter reads no other")
    return found


def address(value: object) -> tuple[str, int]:
    """Host (an address, or localhost) and port; a port alone is one of this machine only."""
    text = word(value)
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    try:
        host = LOOPBACK if host == "localhost" else str(ipaddress.ip_address(host))
    except ValueError as error:
        raise WrongError(
            f"{_shown(text)} is not HOST:PORT", 'write an address, as in "127.0.0.1:9469"'
        ) from error
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise WrongError(f"{_shown(text)} names no port from 1 to 65535")
    return host, int(port)


def urls(value: object) -> tuple[str, ...]:
    """A list of URLs. They may hold secrets, so nothing that is said of them shows one."""
    if not isinstance(value, list):
        raise WrongError("it is not a list of URLs", 'write ["mailtos://..."]')
    if len(value) > MOST_URLS:
        raise WrongError(f"{len(value)} are more than the {MOST_URLS} that are told")
    for number, each in enumerate(value, start=1):
        if not isinstance(each, str) or not re.match(URL, each) or not each.isprintable():
            text = f"number {number} of them is no URL"
            raise WrongError(text, "write it as apprise has it: mailtos://user:password@host")
    return tuple(value)


def without_secrets(value: object) -> list[str]:
    """What of *urls* may be shown: the services that they name."""
    given = value if isinstance(value, list | tuple) else []
    return [f"{str(url).partition(':')[0]}://***" for url in given]


def event_kinds(value: object) -> tuple[str, ...]:
    """A list of words that events have in the journal."""
    one = one_of(*EVENTS)
    return tuple(one(each) for each in words(value))


def nearest(wrong: object, known: object) -> str | None:
    """`did you mean ...?` when something near it is known."""
    from difflib import get_close_matches

    found = get_close_matches(str(wrong), list(cast("list[str]", known)), n=1)
    return f"did you mean {found[0]}?" if found else None


def best_of_text(text: str) -> object:
    """What `COUNT:METRIC:MODE` of a command line would be in TOML."""
    count, *named = text.split(":")
    if not named:
        return number_of_text(count)
    if len(named) > 2:
        raise WrongError(
            f"{text!r} has too many colons", "write COUNT:METRIC:MODE, as 2:eval_loss:min"
        )
    return {"count": number_of_text(count), **dict(zip(("metric", "mode"), named, strict=False))}


def number_of_text(text: str) -> object:
    """The number that a command line's *text* is, else the text itself."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text


def _shown(value: object) -> str:
    """*value* in a sentence: as it was written, unless that would be a page."""
    if isinstance(value, int) and abs(value) > MOST:
        return "a number of more than twelve digits"  # Python refuses to print some of them
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return f"{value[:LONGEST_SHOWN]!r}..."
    return (
        repr(value)
        if isinstance(value, str | int | float)
        else f"a {_TOML.get(type(value), type(value).__name__)}"
    )
