"""The JSON schema of ckptd.toml, for editors that complete and check it."""

from __future__ import annotations

from typing import Any, Final

from ckptd.config.entries import Key, Table
from ckptd.config.keys import below, table
from ckptd.config.kinds import PATH

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema, draft 2020-12. What contradicts itself is for `ckptd config` to say."""
    about = "The configuration of ckptd, which keeps checkpoints from filling the disk."
    return {"$schema": DRAFT, "title": "ckptd.toml", "description": about, **_object(table(""))}


def _object(of: Table) -> dict[str, Any]:
    properties = {key.name: _property(key) for key in (*of.keys, *of.off)}
    for inner in below(of):
        about = {"description": inner.about}
        one = _object(inner)
        properties[str(inner.place[-1])] = about | (
            {"type": "array", "items": one} if inner.listed else one
        )
    required = [key.name for key in of.keys if key.kind is PATH]
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    if of is table("disk"):
        single = {"type": "object", "properties": properties, "additionalProperties": False}
        found["patternProperties"] = {PATH.schema["pattern"]: single}
    return found | ({"required": required} if required else {})


def _property(key: Key) -> dict[str, Any]:
    said = {"description": key.about or key.help, "default": key.default}
    return dict(key.kind.schema) | {
        word: what for word, what in said.items() if what not in ("", None)
    }
