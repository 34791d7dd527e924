"""The keys that the command line takes as options, with the sentences that `--help` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ckptd.config.entries import Key, Table, dashed
from ckptd.config.keys import TABLES
from ckptd.config.kinds import PATTERNS, Kind


@dataclass(frozen=True, slots=True)
class Option:
    """`--name METAVAR`; `key` is where the same value stands in the TOML, dots between tables."""

    name: str
    key: str
    kind: Kind
    metavar: str
    help: str
    repeatable: bool


def _option(table: Table, key: Key) -> Option:
    dotted = table.dotted(key)
    name = dotted.removeprefix("policy.").removeprefix("disk.")
    return Option(dashed(name), dotted, key.kind, key.metavar, key.help, key.kind is PATTERNS)


OPTIONS: Final = tuple(_option(table, key) for table in TABLES for key in table.keys if key.help)
