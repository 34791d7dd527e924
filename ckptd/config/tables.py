"""What a TOML document says by the tables of `keys`, and what is wrong with it: pydantic's door."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, create_model

from ckptd.config.entries import Table
from ckptd.config.keys import TABLES, below, table
from ckptd.config.kinds import OFF, PATH, Kind, not_yet
from ckptd.config.lines import Place
from ckptd.config.values import WrongError, nearest


class Wrong(NamedTuple):
    """Something wrong in a document; `sentence` is made when it is told, for there may be many."""

    place: Place
    sentence: Callable[[], WrongError]


def _model(of: Table, **further: Kind) -> type[BaseModel]:
    """What pydantic reads a table by, with those inside of it. Paths are required."""
    kinds = {key.name: key.kind for key in (*of.keys, *of.off)} | further
    fields: dict[str, Any] = {name: _field(kind) for name, kind in kinds.items()}
    for inner in below(of):
        model = _model(inner)
        fields[str(inner.place[-1])] = (list[model] if inner.listed else model, None)  # type: ignore[valid-type]
    return create_model(of.name or "file", __config__=ConfigDict(extra="forbid"), **fields)


def _field(kind: Kind) -> tuple[Any, Any]:
    return Annotated[Any, PlainValidator(kind.read)], ... if kind is PATH else None


_FILE: Final = _model(table(""))
_FILESYSTEM: Final = _model(table("disk"), path=PATH)


class Whole(BaseModel):
    """A file whose `[disk."/path"]` tables were taken out of `[disk]`."""

    file: _FILE  # type: ignore[valid-type]
    filesystems: list[_FILESYSTEM]  # type: ignore[valid-type]


def validate(document: Mapping[str, Any]) -> tuple[dict[Place, Any], tuple[Wrong, ...]]:
    """Every value that the document holds, read, by its place in it; and all that is wrong.

    Where something is wrong there are no values.
    """
    disk = document.get("disk")
    tables = disk if isinstance(disk, dict) else {}
    paths = tuple(key for key in tables if _is_path(key))
    marks = {key: value for key, value in tables.items() if not _is_path(key)}
    file = {**document, "disk": marks} if paths else document
    whole = {"file": file, "filesystems": [_with_path(tables[path], path) for path in paths]}
    try:
        read = Whole.model_validate(whole)
    except ValidationError as error:
        return {}, tuple(_wrong(each, paths) for each in error.errors(include_url=False))
    values = dict(_flat(read.file, ()))
    for path, its in zip(paths, read.filesystems, strict=True):
        values |= {place: mark for place, mark in _flat(its, ("disk", path)) if place[-1] != "path"}
    return values, ()


def _is_path(key: str) -> bool:
    return key.startswith(("/", "~"))


def _with_path(marks: object, path: str) -> object:
    return {**marks, "path": path} if isinstance(marks, dict) else marks


def _flat(read: object, place: Place) -> Iterator[tuple[Place, Any]]:
    """The values that were written in a table, and in those inside of it, by place."""
    if isinstance(read, BaseModel):
        for name, value in read:
            if name in read.model_fields_set:
                yield from _flat(value, (*place, name))
    elif isinstance(read, list):
        for at, value in enumerate(read):
            yield from _flat(value, (*place, at))
    elif read is not OFF:
        yield place, read


def _place(loc: tuple[str | int, ...], paths: Sequence[str]) -> Place:
    """The place in the document of what pydantic found at *loc* in a Whole."""
    if loc[0] == "file":
        return loc[1:]
    at, *inside = loc[1:]
    return ("disk", paths[int(at)], *(step for step in inside if step != "path"))


# --- what is wrong ------------------------------------------------------------------------


def _wrong(error: Mapping[str, Any], paths: Sequence[str]) -> Wrong:
    place = _place(error["loc"], paths)
    return Wrong(place, partial(_sentence, error, place))


def _sentence(error: Mapping[str, Any], place: Place) -> WrongError:
    if error["type"] == "extra_forbidden":
        return _unknown(place)
    if error["type"] == "missing":
        return WrongError("it is missing", "every [[watch]] needs a path")
    if error["type"] == "value_error":
        return WrongError.of(error["ctx"]["error"])
    return _not_a_table(place)


def _not_a_table(place: Place) -> WrongError:
    if place[0] == "watch":
        return WrongError("it is not a list of tables", "write [[watch]] above its keys")
    name = ".".join(f'"{step}"' if "/" in str(step) else str(step) for step in place)
    return WrongError("it is not a table", f"write [{name}] above its keys")


def _unknown(place: Place) -> WrongError:
    *above, key = (str(step) for step in place if isinstance(step, str))
    here = table("disk" if above[:1] == ["disk"] else ".".join(above))
    if key in here.later:
        return not_yet()
    known = _names(here)
    homes = [each for each in TABLES if key in _names(each)]
    remedy = nearest(key, known) or (_belongs(homes[0]) if homes else None)
    return WrongError("unknown key", remedy or f"known here: {', '.join(known)}")


def _names(of: Table) -> list[str]:
    """The keys of a table, and the tables in it."""
    return [*(key.name for key in of.keys), *(str(inner.place[-1]) for inner in below(of))]


def _belongs(home: Table) -> str:
    if not home.name:
        return "it belongs above all tables"
    return f"it belongs under [[{home.name}]]" if home.listed else f"it belongs under [{home.name}]"


def foreign_to_drop_ins(document: Mapping[str, Any]) -> tuple[Wrong, ...]:
    """What a drop-in must not say: all but `[policy]`."""
    return tuple(Wrong((key,), partial(_foreign, key)) for key in document if key != "policy")


def _foreign(key: str) -> WrongError:
    top, policy = table(""), table("policy")
    if key in _names(top) or key in top.later:
        text = "a drop-in sets [policy] only; this belongs into the configuration of the service"
        return WrongError(text, "move it to ckptd.toml")
    if key in _names(policy):
        return WrongError("unknown key", _belongs(policy))
    return WrongError("unknown key", nearest(key, ["policy"]) or "a drop-in sets [policy] only")
