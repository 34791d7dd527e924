"""What the value of a rule's key comes to: how much it keeps, and the rule that it makes.

A value is a count (None is unlimited), a Best, a number of steps or a Span.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final, cast

from ckptd.config import rulekeys
from ckptd.config.values import UNLIMITED, Best
from ckptd.policy import (
    KeepBest,
    KeepEverySteps,
    KeepLast,
    KeepPeriods,
    KeepWithin,
    Period,
    Rule,
)
from ckptd.units import Span

DEFAULTS: Final = {key.name: key.kind.read(key.default) for key in rulekeys.POLICY}
"""What holds by itself, by the name of the rule."""


def amount(name: str, value: Any) -> float:
    """How much a rule keeps by its *value*, to compare two of the same rule: 0 is off."""
    if value is None:
        return math.inf
    if isinstance(value, Best):
        return value.count
    if isinstance(value, Span):
        return value.about
    if name == "keep_every_steps":
        return 1 / value if value else 0
    return float(value)


def less(name: str, value: Any, other: Any) -> Any:
    """The one that keeps less; of two that rank, *value* with the lower count."""
    if isinstance(value, Best):
        return replace(value, count=min(value.count, other.count))
    return min(value, other, key=lambda each: amount(name, each))


def rule_of(name: str, value: Any) -> Rule | None:
    """The rule that *value* makes; None where it is switched off."""
    if not amount(name, value):
        return None
    if isinstance(value, Best):
        return KeepBest(value.count, value.metric, value.mode)
    if isinstance(value, Span):
        return KeepWithin(value)
    if name == "keep_last":
        return KeepLast(value)
    if name == "keep_every_steps":
        return KeepEverySteps(value)
    return KeepPeriods(cast("Period", name.removeprefix("keep_")), value)


def as_toml(value: Any) -> int | str:
    """What stands for *value* in a file; for one that ranks its count alone."""
    if value is None:
        return UNLIMITED
    if isinstance(value, Best):
        return value.count
    return str(value) if isinstance(value, Span) else cast("int", value)
