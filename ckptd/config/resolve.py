"""From what was written to what holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ckptd.config.contradictions import beyond_policy, without_effect
from ckptd.config.levels import policy_of
from ckptd.config.marks import marks_of, out_of_order
from ckptd.config.settings import Notify, Prometheus, Settings, Watch
from ckptd.config.sources import Source, put_together, sound
from ckptd.errors import ConfigError, Problem
from ckptd.policy import Policies, Policy


def resolve(written: Source, given: Source, paths: Sequence[str]) -> Settings:
    """The settings that files and a command line lead to, with *paths* in place of the watches.

    Raises ConfigError with the problems of both, else where their values contradict each other.
    """
    chosen = sound(put_together([written, given]))
    _raise(
        (
            *beyond_policy(chosen),
            *without_effect(chosen, by_default=True),
            *out_of_order(chosen),
        )
    )
    marks, single = marks_of(chosen)
    return Settings(
        policies=Policies(default=policy_of(chosen), marks=marks, by_filesystem=single),
        watches=_named(paths) if paths else _watches(chosen),
        mode=chosen.of("mode", "enforce"),
        trust=chosen.of("trust", ()),
        notify=Notify(**_of_table(chosen, "notify")),
        prometheus=Prometheus(**_of_table(chosen, "prometheus")),
        source=chosen.names,
        written=written,
        given=given,
    )


def _of_table(chosen: Source, name: str) -> dict[str, Any]:
    """What was written in `[name]`, by key."""
    said = chosen.values.items()
    return {str(place[1]): each.value for place, each in said if place[0] == name}


def policy_with(settings: Settings, drop_ins: Sequence[Source]) -> tuple[Policy, tuple[str, ...]]:
    """The policy below *drop_ins*, the farthest first, and the names of all it came from.

    The nearest one wins key by key, the command line wins over all. Raises ConfigError with the
    problems of the drop-ins, or where they contradict themselves or the configuration.
    """
    if not drop_ins:
        return settings.policies.default, settings.source
    chosen = sound(put_together([settings.written, *drop_ins, settings.given]))
    _raise((*beyond_policy(chosen), *without_effect(chosen, by_default=False)))
    return policy_of(chosen), chosen.names


def _raise(problems: tuple[Problem, ...]) -> None:
    if problems:
        raise ConfigError(problems)


def _named(paths: Sequence[str]) -> tuple[Watch, ...]:
    absolute = dict.fromkeys(os.path.abspath(path) for path in paths)
    return tuple(Watch(path, adopt="all", named=True) for path in absolute)


def _watches(chosen: Source) -> tuple[Watch, ...]:
    return tuple(Watch(**keys) for keys in chosen.tables("watch").values())
