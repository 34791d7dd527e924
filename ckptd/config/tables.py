"""The tables of the TOML file, and what is wrong with a document. The door for pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Required, cast

from pydantic import ConfigDict, PlainValidator, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ckptd.config import values
from ckptd.config.lines import Place
from ckptd.config.values import WrongError, nearest
from ckptd.units import Share

KeepLast = Annotated[int | None, PlainValidator(values.keep_last)]
KeepBest = Annotated[values.Best, PlainValidator(values.keep_best)]
KeepEverySteps = Annotated[int, PlainValidator(values.keep_every_steps)]
Duration = Annotated[float, PlainValidator(values.duration)]
Size = Annotated[int, PlainValidator(values.size)]
Mark = Annotated[Share | int, PlainValidator(values.mark)]
Words = Annotated[tuple[str, ...], PlainValidator(values.words)]
Pin = Annotated[tuple[str, ...], PlainValidator(values.pin)]
Path = Annotated[str, PlainValidator(values.path)]
Flag = Annotated[bool, PlainValidator(values.flag)]
Mode = Annotated[str, PlainValidator(values.READERS["mode"])]
Events = Annotated[str, PlainValidator(values.one_of("auto", "inotify", "poll"))]
Adopt = Annotated[str, PlainValidator(values.one_of("new", "all"))]


class WatchTable(TypedDict, total=False):
    path: Required[Path]
    events: Events
    adopt: Adopt
    mixed_owners: Flag


class PressureTable(TypedDict, total=False):
    keep_last: KeepLast
    keep_best: KeepBest
    keep_every_steps: KeepEverySteps


class PolicyTable(TypedDict, total=False):
    keep_last: KeepLast
    keep_best: KeepBest
    keep_every_steps: KeepEverySteps
    pin: Pin
    min_age: Duration
    settle: Duration
    broken_after: Duration
    trash_for: Duration
    finished_after: Duration
    pressure: PressureTable


class DiskTable(TypedDict, total=False):
    high: Mark
    low: Mark
    hard: Mark
    max_headroom: Size


class Document(TypedDict, total=False):
    mode: Mode
    trust: Words
    watch: list[WatchTable]
    policy: PolicyTable
    disk: DiskTable


class Whole(TypedDict):
    """A file whose `[disk."/path"]` tables were taken out of `[disk]`."""

    file: Document
    filesystems: dict[Path, DiskTable]


# Keys that the design knows and this version does not obey yet.
LATER: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"archive", "notify", "prometheus"}),
    "watch": frozenset({"drop_ins", "capacity"}),
    "policy": frozenset(
        {
            *("keep_within", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly"),
            *("keep_yearly", "max_size", "keep_optimizer_last", "archive", "finished"),
        }
    ),
    "policy.pressure": frozenset(
        {
            *("keep_within", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly"),
            *("keep_yearly", "keep_optimizer_last"),
        }
    ),
    "disk": frozenset({"reserve"}),
}
TABLES: Final[Mapping[str, Any]] = {
    "": Document,
    "watch": WatchTable,
    "policy": PolicyTable,
    "policy.pressure": PressureTable,
    "disk": DiskTable,
}
# pydantic 2.6 has no decorator for this, and an attribute in a TypedDict's body is no key.
for _table in (*TABLES.values(), Whole):
    _table.__pydantic_config__ = ConfigDict(extra="forbid")

_READER: Final = TypeAdapter(Whole)


def validate(
    document: Mapping[str, Any],
) -> tuple[Whole | None, tuple[tuple[Place, WrongError], ...]]:
    """The document with its values read; or None, and everything wrong with it by place."""
    whole = _taken_apart(document)
    try:
        return _READER.validate_python(whole), ()
    except ValidationError as error:
        found = error.errors(include_url=False)
        return None, tuple((_place(each["loc"]), _wrong(each)) for each in found)


def _taken_apart(document: Mapping[str, Any]) -> dict[str, Any]:
    disk = document.get("disk")
    if not isinstance(disk, dict):
        return {"file": document, "filesystems": {}}
    paths = {key: table for key, table in disk.items() if key.startswith(("/", "~"))}
    marks = {key: value for key, value in disk.items() if key not in paths}
    return {"file": {**document, "disk": marks}, "filesystems": paths}


def _place(loc: tuple[str | int, ...]) -> Place:
    """The place in the file; `[key]` is how pydantic says that a dict's key is meant."""
    inside = tuple(step for step in loc[1:] if step != "[key]")
    return inside if loc[0] == "file" else ("disk", *inside)


def _wrong(error: Mapping[str, Any]) -> WrongError:
    if error["type"] == "extra_forbidden":
        return _unknown(_place(error["loc"]))
    if error["type"] == "missing":
        return WrongError("it is missing", "every [[watch]] needs a path")
    if error["type"] == "value_error":
        raised = error["ctx"]["error"]
        return raised if isinstance(raised, WrongError) else WrongError(str(raised))
    return _not_a_table(_place(error["loc"]))


def _not_a_table(place: Place) -> WrongError:
    if place[0] == "watch":
        return WrongError("it is not a list of tables", "write [[watch]] above its keys")
    name = ".".join(f'"{step}"' if "/" in str(step) else str(step) for step in place)
    return WrongError("it is not a table", f"write [{name}] above its keys")


def _unknown(place: Place) -> WrongError:
    *above, key = (str(step) for step in place if isinstance(step, str))
    table = "disk" if above[:1] == ["disk"] else ".".join(above)
    if key in LATER[table]:
        text = "this version of ckptd does not know it yet, and to ignore it could cost checkpoints"
        return WrongError(text, "take it out")
    known = TABLES[table].__annotations__
    homes = [name for name, other in TABLES.items() if key in other.__annotations__]
    remedy = nearest(key, known) or (f"it belongs {_under(homes[0])}" if homes else None)
    return WrongError("unknown key", remedy or f"known here: {', '.join(known)}")


def _under(table: str) -> str:
    brackets = {"": "above all tables", "watch": "under [[watch]]"}
    return brackets.get(table, f"under [{table}]")


def flat(document: Document) -> dict[str, Any]:
    """The values of all tables by dotted key; the watches are no part of it."""
    return dict(_flat(cast("Mapping[str, Any]", document), ""))


def _flat(table: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        elif key != "watch":
            pairs.append((f"{prefix}{key}", value))
    return pairs
