"""Every value in force, as TOML has it, with where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ckptd.config.amounts import as_toml
from ckptd.config.entries import Key, Table
from ckptd.config.keys import TABLES, table
from ckptd.config.levels import firm, kept, outranked
from ckptd.config.lines import Place
from ckptd.config.marks import mark_said
from ckptd.config.settings import Settings
from ckptd.config.sources import Origin, Said, Source, put_together
from ckptd.config.values import without_secrets


@dataclass(frozen=True, slots=True)
class Effective:
    """One value in force at `place`; without an `origin` it is the default.

    `follows`: it is what another key leads to, and written down it would not follow that.
    `hidden`: it holds secrets, so only a part of it is here.
    """

    place: Place
    value: Any
    origin: Origin | None
    follows: bool = False
    hidden: bool = False


def effective(settings: Settings, drop_ins: Sequence[Source] = ()) -> tuple[Effective, ...]:
    """All values, table by table; with *drop_ins*, the farthest first, those that hold below them.

    Written to a file, but for those that follow others or are hidden, they mean the same again.
    """
    chosen = put_together([settings.written, *drop_ins, settings.given])
    return tuple(value for each in TABLES for value in _of_table(chosen, each))


def _of_table(chosen: Source, each: Table) -> Iterator[Effective]:
    if each.listed:
        for path in chosen.tables(each.name):
            yield from _watch(chosen, each, path)
        return
    level = {"policy.pressure": _pressed, "policy.finished": _finished}.get(each.name)
    for key in each.keys:
        place = (*each.place, key.name)
        yield level(chosen, key) if level else _plain(place, chosen.values.get(place), key)
    if each is table("disk"):
        for path in chosen.tables(each.name):
            for key in each.keys:
                yield _plain(("disk", path, key.name), mark_said(chosen, key.name, path), key)


def _watch(chosen: Source, each: Table, path: str) -> Iterator[Effective]:
    for key in each.keys:
        place = (each.name, path, key.name)
        found = _plain(place, chosen.values.get(place), key)
        yield Effective(place, path, found.origin) if key.name == "path" else found


def _plain(place: Place, said: Said | None, key: Key) -> Effective:
    if said is None:
        return Effective(place, key.default, None)
    if key.secret and said.written:
        return Effective(place, without_secrets(said.written), said.origin, hidden=True)
    return Effective(place, said.written, said.origin)


def _pressed(chosen: Source, key: Key) -> Effective:
    """What pressure keeps of one rule: as it says, or as the policy makes it."""
    place = ("policy", "pressure", key.name)
    own, above = chosen.values.get(place), chosen.values.get(("policy", key.name))
    if own and not outranked(chosen, key.name):
        return Effective(place, own.written, own.origin)
    value, of_policy = as_toml(firm(chosen)[key.name]), as_toml(kept(chosen)[key.name])
    if own and value == as_toml(own.value):
        return Effective(place, value, own.origin)
    origin = above.origin if above and value == of_policy else None
    return Effective(place, value, origin, follows=own is None)


def _finished(chosen: Source, key: Key) -> Effective:
    """What is kept of one rule once a run is over: as it says, else as the policy does."""
    place = ("policy", "finished", key.name)
    if own := chosen.values.get(place):
        return Effective(place, own.written, own.origin)
    above = chosen.values.get(("policy", key.name))
    written = above.written if above else as_toml(kept(chosen)[key.name])
    return Effective(place, written, above.origin if above else None, follows=True)
