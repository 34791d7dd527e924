"""What a policy says against itself: pressure that keeps more, rules that never keep anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ckptd.config.amounts import DEFAULTS, amount, as_toml
from ckptd.config.entries import dashed
from ckptd.config.levels import Level, firm, kept, says
from ckptd.config.sources import COMMAND_LINE, Origin, Source
from ckptd.config.values import Best
from ckptd.config.writing import toml_value
from ckptd.errors import Problem

# The newest of a day is the newest of its hour: without a limit the finer rule keeps it anyway.
FINER: Final = {
    "keep_daily": ("keep_hourly",),
    "keep_weekly": ("keep_daily", "keep_hourly"),
    "keep_monthly": ("keep_daily", "keep_hourly"),
    "keep_yearly": ("keep_monthly", "keep_daily", "keep_hourly"),
}


# --- pressure keeps a part of what the policy keeps; more would be a rule of its own ---------


def beyond_policy(chosen: Source) -> Iterator[Problem]:
    """Rules that would keep more under pressure than while there is room."""
    in_room, pressed = kept(chosen), firm(chosen)
    for name, value in in_room.items():
        if amount(name, pressed[name]) > amount(name, value):
            yield _more(name, pressed[name], value, chosen)
        elif isinstance(value, Best) and _ranks_otherwise(value, pressed[name]):
            text = (
                f"it ranks otherwise than policy.{name}, so it could keep what the policy does not"
            )
            where = chosen.values["policy", "pressure", name].origin
            yield Problem(str(where), text, "write a count only, or the same metric and mode")


def _ranks_otherwise(best: Best, pressed: Best) -> bool:
    return bool(pressed.count) and (pressed.metric, pressed.mode) != (best.metric, best.mode)


def _more(rule: str, pressed: Any, keeps: Any, chosen: Source) -> Problem:
    """*pressed* is what pressure says, *keeps* what the policy says."""
    here = chosen.values["policy", "pressure", rule].origin
    said = chosen.values.get(("policy", rule))
    place = said.origin if said else f"policy.{rule} by default"
    shown, bound = as_toml(pressed), as_toml(keeps)
    text = f"{shown} keeps more under pressure than while there is room, where {place} is {bound}"
    instead, other = f"write {toml_value(bound)} here", f"policy.{rule}"
    if here.source == COMMAND_LINE:
        instead, other = f"give --pressure-{dashed(rule)} {bound}", f"--{dashed(rule)}"
    return Problem(str(here), text, f"{instead}, or let {other} keep more")


# --- rules that can never have an effect ---------------------------------------------------


def without_effect(chosen: Source, *, by_default: bool) -> Iterator[Problem]:
    """Values that a rule never keeps anything by, where one source alone is to blame.

    Another source may lift the limit that made a rule useful, and must not make it an error.
    *by_default* says whether a default may be what leaves the rule nothing; below a drop-in it
    may not, for defaults are the service's to change.
    """
    for table in ("", "pressure", "finished"):
        for name in DEFAULTS:
            said = chosen.values.get(_place(table, name))
            if said is None or not amount(name, said.value):
                continue
            if said.value == _anyway(chosen, table, name):
                continue
            covers = [_cover(name, level) for level in _levels(chosen, table, name)]
            found = [cover for cover in covers if cover]
            if found == covers and _of_one_source(chosen, {name, *found}, by_default=by_default):
                yield _useless(said.origin, name, found)


def _place(table: str, name: str) -> tuple[str, ...]:
    return ("policy", table, name) if table else ("policy", name)


def _anyway(chosen: Source, table: str, name: str) -> Any:
    """What would hold without the value: to write that down, as `ckptd config` does, is fine."""
    return kept(chosen)[name] if table else DEFAULTS[name]


def _levels(chosen: Source, table: str, name: str) -> Iterator[Level]:
    """The levels that a rule's value in *table* has a say in."""
    if table == "":
        yield kept(chosen)
    if table != "finished":
        yield firm(chosen)
    if table == "finished" or (table == "" and not says(chosen, "finished", name)):
        yield kept(chosen, over=True)
    if table or not says(chosen, "finished", name):
        yield firm(chosen, over=True)


def _cover(name: str, level: Level) -> str | None:
    """What keeps a rule from keeping anything at *level*: another without a limit, or itself
    where it is switched off; None if nothing does.
    """
    if not amount(name, level[name]):
        return name
    others = ("keep_last", *FINER.get(name, ())) if name != "keep_last" else ()
    return next((other for other in others if level[other] is None), None)


def _of_one_source(chosen: Source, names: set[str], *, by_default: bool) -> bool:
    """Whether all that was said of the rules called *names*, at any level, one source said."""
    places = [_place(table, name) for table in ("", "pressure", "finished") for name in names]
    sources = {chosen.values[place].origin.source for place in places if place in chosen.values}
    return len(sources) == 1 and (by_default or all(("policy", n) in chosen.values for n in names))


def _useless(here: Origin, name: str, covers: list[str]) -> Problem:
    """*covers* are what leaves the rule nothing, level by level."""
    first, *others = dict.fromkeys(covers)
    text = f"it never keeps anything: {first} is unlimited"
    if name in others:
        text += ", and under pressure this rule is switched off"
    elif others:
        text += f", and {others[0]} is under pressure"
    else:
        text += " under pressure too"
    lower = f"--{dashed(first)}" if here.source == COMMAND_LINE else first
    return Problem(str(here), text, f"give {lower} a number, or leave this out")
