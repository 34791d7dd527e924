"""The kinds of values that keys take: how each is read, and how a JSON schema says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ckptd.config import values
from ckptd.config.values import AUTO, UNLIMITED, WrongError
from ckptd.model import EVENTS
from ckptd.units import CALENDAR_UNITS, DURATION_UNITS, SIZE_UNITS

OFF: Final = object()
"""What the value of a key means that this version knows only switched off."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`read` takes what TOML gives and raises WrongError; `of_text` makes that of an option."""

    read: Callable[[object], Any]
    schema: Mapping[str, Any]
    of_text: Callable[[str], object] = str


def choice(*allowed: str) -> Kind:
    """One of a few words."""
    return Kind(values.one_of(*allowed), {"enum": list(allowed)})


def switched_off(word: str) -> Kind:
    """A key of a later version, which may be there as long as *word* switches it off."""

    def read(value: object) -> object:
        if value == word:
            return OFF
        raise not_yet(f'write "{word}", or take it out')

    return Kind(read, {"const": word})


def not_yet(remedy: str = "take it out") -> WrongError:
    """What is said of keys that the design knows and this version does not obey yet."""
    text = "this version of ckptd does not know it yet, and to ignore it could cost checkpoints"
    return WrongError(text, remedy)


def _amount(*units: str) -> dict[str, Any]:
    number = r"[0-9]{1,15}(\.[0-9]{1,9})?"
    return {"type": "string", "pattern": rf"^\s*{number}\s*({'|'.join(units)})\s*$"}


def _spans() -> dict[str, Any]:
    whole, part = "[0-9]{1,15}", r"[0-9]{1,15}(\.[0-9]{1,9})?"
    days = "|".join(CALENDAR_UNITS)
    hours = "|".join(unit for unit in DURATION_UNITS if unit not in CALENDAR_UNITS)
    piece = rf"\s*({part}\s*({hours})|{whole}\s*({days}))\s*"
    return {"type": "string", "pattern": f"^({piece})+$"}


def _texts(pattern: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "pattern": pattern}}


_NUMBER: Final = {"type": "integer", "minimum": 0, "maximum": values.MOST}
_BEST: Final = {
    "type": "object",
    "properties": {
        "count": _NUMBER,
        "metric": {"type": "string", "minLength": 1},
        "mode": {"enum": ["min", "max"]},
    },
    "additionalProperties": False,
    "dependentRequired": {"mode": ["metric"]},
}

COUNT: Final = Kind(
    values.how_many, {"anyOf": [_NUMBER, {"const": UNLIMITED}]}, values.number_of_text
)
BEST: Final = Kind(values.keep_best, {"anyOf": [_NUMBER, _BEST]}, values.best_of_text)
STEPS: Final = Kind(values.keep_every_steps, _NUMBER, values.number_of_text)
PATTERNS: Final = Kind(values.pin, _texts("^[^/]+$") | {"maxItems": values.MOST_PATTERNS})
WORDS: Final = Kind(values.words, _texts("."))
DURATION: Final = Kind(values.duration, _amount(*DURATION_UNITS))
SPAN: Final = Kind(values.span, _spans())
SIZE: Final = Kind(values.size, _amount(*SIZE_UNITS))
LIMIT: Final = Kind(
    values.size_or(UNLIMITED), {"anyOf": [_amount(*SIZE_UNITS), {"const": UNLIMITED}]}
)
RESERVE: Final = Kind(values.size_or(AUTO), {"anyOf": [_amount(*SIZE_UNITS), {"const": AUTO}]})
MARK: Final = Kind(values.mark, _amount("%", *SIZE_UNITS))
FLAG: Final = Kind(values.flag, {"type": "boolean"})
PATH: Final = Kind(values.path, {"type": "string", "pattern": "^[/~]"})
FILE: Final = Kind(values.path, {"type": "string", "pattern": "^[/~]"})
TEXTFILE: Final = Kind(values.textfile, {"type": "string", "pattern": r"^[/~][\s\S]*\.prom$"})
ADDRESS: Final = Kind(values.address, {"type": "string", "pattern": "^[^/]*[0-9]$"})
URLS: Final = Kind(values.urls, _texts(values.URL) | {"maxItems": values.MOST_URLS})
EVENT_KINDS: Final = Kind(values.event_kinds, {"type": "array", "items": {"enum": list(EVENTS)}})
