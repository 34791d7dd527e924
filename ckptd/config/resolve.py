"""From what was written to what holds: defaults, the two levels, marks in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from ckptd.config.settings import Settings, Watch
from ckptd.config.sources import Source
from ckptd.config.values import UNLIMITED, Best
from ckptd.errors import ConfigError, Problem
from ckptd.policy import KeepBest, KeepEverySteps, KeepLast, Marks, Policies, Policy, Rule
from ckptd.units import Share, show_bytes

SPANS: Final = ("min_age", "settle", "broken_after", "trash_for", "finished_after")
PRESSURE_LAST: Final = 2  # kept under pressure as long as keep_last is unlimited


def resolve(chosen: Source, paths: Sequence[str]) -> Settings:
    """The settings that *chosen* leads to, with *paths* in place of its watches.

    Raises ConfigError where its values contradict each other.
    """
    values = chosen.values
    marks = _marks(Marks(), values, "disk.")
    tables = {path: _marks(marks, table) for path, table in chosen.filesystems.items()}
    problems = [*_beyond_policy(chosen), *_out_of_order(marks, _mark_place(chosen))]
    for path, its in tables.items():
        if its != marks:
            problems += _out_of_order(its, chosen.where[f'disk."{path}"'])
    if problems:
        raise ConfigError(tuple(problems))
    return Settings(
        policies=Policies(default=_policy(values), marks=marks, by_filesystem=tables),
        watches=_named(paths) if paths else chosen.watches,
        mode=values.get("mode", "enforce"),
        trust=values.get("trust", ()),
        source=chosen.names,
    )


def _named(paths: Sequence[str]) -> tuple[Watch, ...]:
    absolute = dict.fromkeys(os.path.abspath(path) for path in paths)
    return tuple(Watch(path, adopt="all", named=True) for path in absolute)


# --- the policy and its two levels -------------------------------------------------------


def _policy(values: Mapping[str, Any]) -> Policy:
    spans = {key: values[f"policy.{key}"] for key in SPANS if f"policy.{key}" in values}
    policy = Policy(_rules(_kept(values)), _rules(_firm(values)), values.get("policy.pin", ()))
    return replace(policy, **spans)


def _kept(values: Mapping[str, Any]) -> tuple[int | None, Best, int]:
    """The numbers of `[policy]`, or their defaults; 0 is a rule switched off."""
    return (
        values.get("policy.keep_last"),
        values.get("policy.keep_best", Best(1)),
        values.get("policy.keep_every_steps", 0),
    )


def _firm(values: Mapping[str, Any]) -> tuple[int | None, Best, int]:
    """The numbers of `[policy.pressure]`; a rule without one is as firm as it is."""
    last, best, steps = _kept(values)
    return (
        values.get("policy.pressure.keep_last", PRESSURE_LAST if last is None else last),
        _by_metric_of(best, values.get("policy.pressure.keep_best", best)),
        values.get("policy.pressure.keep_every_steps", steps),
    )


def _by_metric_of(kept: Best, firm: Best) -> Best:
    """A mere count under pressure ranks as the policy does."""
    return firm if firm.metric else replace(kept, count=firm.count)


def _rules(numbers: tuple[int | None, Best, int]) -> tuple[Rule, ...]:
    last, best, steps = numbers
    rules: list[Rule] = []
    if last != 0:
        rules.append(KeepLast(last))
    if best.count:
        rules.append(KeepBest(best.count, best.metric, best.mode))
    if steps:
        rules.append(KeepEverySteps(steps))
    return tuple(rules)


def _beyond_policy(chosen: Source) -> Iterator[Problem]:
    """Pressure keeps a part of what the policy keeps; more would be a rule of its own."""
    last, best, steps = _kept(chosen.values)
    firm_last, firm_best, firm_steps = _firm(chosen.values)
    if last is not None and (firm_last is None or firm_last > last):
        yield _more("keep_last", firm_last, last, chosen)
    if firm_best.count > best.count:
        yield _more("keep_best", firm_best.count, best.count, chosen)
    elif firm_best.count and (firm_best.metric, firm_best.mode) != (best.metric, best.mode):
        text = "it ranks otherwise than policy.keep_best, so it could keep what the policy does not"
        where = chosen.where["policy.pressure.keep_best"]
        yield Problem(where, text, "write a count only, or the same metric and mode")
    if firm_steps and (not steps or firm_steps < steps):
        yield _more("keep_every_steps", firm_steps, steps, chosen)


def _more(rule: str, firm: int | None, kept: int, chosen: Source) -> Problem:
    """*firm* is what pressure says, *kept* what the policy says."""
    place = chosen.where.get(f"policy.{rule}", f"policy.{rule} by default")
    shown = UNLIMITED if firm is None else firm
    text = f"{shown} keeps more under pressure than while there is room, where {place} is {kept}"
    remedy = f"write {kept} here, or let policy.{rule} keep more"
    if place.startswith("--"):
        remedy = f"give --pressure-{rule.replace('_', '-')} {kept} as well"
    return Problem(chosen.where[f"policy.pressure.{rule}"], text, remedy)


# --- marks -------------------------------------------------------------------------------


def _marks(under: Marks, values: Mapping[str, Any], prefix: str = "") -> Marks:
    keys = [field.name for field in fields(Marks)]
    return replace(under, **{k: values[prefix + k] for k in keys if prefix + k in values})


def _mark_place(chosen: Source) -> str:
    keys = ("disk.high", "disk.low", "disk.hard")
    return next((chosen.where[key] for key in keys if key in chosen.where), "disk")


def _out_of_order(marks: Marks, where: str) -> Iterator[Problem]:
    """Marks of one kind are comparable; a share and a size depend on the disk."""
    if _above(marks.low, marks.high, or_equal=True):
        text = f"low ({_shown(marks.low)}) is not below high ({_shown(marks.high)})"
        yield Problem(where, text, "letting go begins at high and ends at low")
    if _above(marks.high, marks.hard):
        text = f"high ({_shown(marks.high)}) is above hard ({_shown(marks.hard)})"
        yield Problem(where, text, "hard is the alarm after high; raise it")


def _above(one: Share | int, other: Share | int, *, or_equal: bool = False) -> bool:
    if isinstance(one, Share) and isinstance(other, Share):
        gap = one.percent - other.percent
    elif isinstance(one, int) and isinstance(other, int):
        gap = one - other
    else:
        return False
    return gap > 0 or (or_equal and gap == 0)


def _shown(mark: Share | int) -> str:
    return show_bytes(mark) if isinstance(mark, int) else str(mark)
