"""The policy and its levels: kept while there is room, kept without, kept once a run is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ckptd.config.amounts import DEFAULTS, less, rule_of
from ckptd.config.sources import Source
from ckptd.config.values import Best
from ckptd.policy import Levels, Policy, Rule

SPANS: Final = ("min_age", "settle", "broken_after", "trash_for", "finished_after")
PRESSURE_LAST: Final = 2  # kept under pressure as long as keep_last is unlimited

Level = Mapping[str, Any]
"""The value of every rule, by its name."""


def policy_of(chosen: Source) -> Policy:
    """The policy that *chosen* leads to; `contradictions` says whether it may."""
    spans = {key: span for key in SPANS if (span := chosen.of(f"policy.{key}")) is not None}
    over = None
    if any(says(chosen, "finished", name) for name in DEFAULTS):
        over = Levels(_rules(kept(chosen, over=True)), _rules(firm(chosen, over=True)))
    policy = Policy(_rules(kept(chosen)), _rules(firm(chosen)), over, chosen.of("policy.pin", ()))
    return replace(policy, max_size=chosen.of("policy.max_size"), **spans)


def _rules(level: Level) -> tuple[Rule, ...]:
    return tuple(rule for name, value in level.items() if (rule := rule_of(name, value)))


def says(chosen: Source, table: str, name: str) -> bool:
    """Whether `[policy.TABLE]` was given a value for the rule called *name*."""
    return ("policy", table, name) in chosen.values


def kept(chosen: Source, *, over: bool = False) -> Level:
    """What is kept while there is room; of a run that is *over*, by `[policy.finished]` too."""
    level = {name: chosen.of(f"policy.{name}", default) for name, default in DEFAULTS.items()}
    if not over:
        return level
    return {name: chosen.of(f"policy.finished.{name}", value) for name, value in level.items()}


def firm(chosen: Source, *, over: bool = False) -> Level:
    """What is kept even without room; a rule without a value of its own is as firm as it is.

    Where a stronger source says how much the policy keeps, a weaker one's pressure is bounded
    by it: `keep_last = 1` in a drop-in is 1 under pressure too, whatever the service says. Of a
    run that is *over*, what `[policy.finished]` keeps bounds it likewise.
    """
    level = {name: _firm(chosen, name, value) for name, value in kept(chosen).items()}
    if over:
        for name, value in kept(chosen, over=True).items():
            if says(chosen, "finished", name):
                bound = less(name, value, level[name])
                level[name] = bound if says(chosen, "pressure", name) else _as_firm(name, value)
    return level


def _firm(chosen: Source, name: str, kept_of_it: Any) -> Any:
    if not says(chosen, "pressure", name):
        return _as_firm(name, kept_of_it)
    pressed = _by_metric_of(kept_of_it, chosen.of(f"policy.pressure.{name}"))
    return less(name, kept_of_it, pressed) if outranked(chosen, name) else pressed


def _as_firm(name: str, kept_of_it: Any) -> Any:
    return PRESSURE_LAST if name == "keep_last" and kept_of_it is None else kept_of_it


def outranked(chosen: Source, rule: str) -> bool:
    """Whether the policy's number comes from a stronger source than pressure's."""
    pressed = chosen.rank(("policy", "pressure", rule))
    return 0 <= pressed < chosen.rank(("policy", rule))


def _by_metric_of(kept_of_it: Any, pressed: Any) -> Any:
    """A mere count under pressure ranks as the policy does."""
    if not isinstance(pressed, Best) or pressed.metric:
        return pressed
    return replace(kept_of_it, count=pressed.count)
