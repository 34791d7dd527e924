"""Formats recognise: names to claims, bytes to findings, findings to a health. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckptd.formats.base import Claim, Format, Peek
from ckptd.formats.health import judge
from ckptd.formats.huggingface import HUGGINGFACE
from ckptd.formats.strict import STRICT, lists_strictly
from ckptd.model import Entry

REGISTRY: Final[tuple[Format, ...]] = (HUGGINGFACE,)

__all__ = [
    "REGISTRY",
    "STRICT",
    "Claim",
    "Format",
    "Peek",
    "claims",
    "exports",
    "judge",
    "lists_strictly",
    "markers",
]


def claims(children: Sequence[Entry]) -> tuple[tuple[Format, Claim], ...]:
    """The saves among a directory's own children; the first format to claim a name has it."""
    found: dict[str, tuple[Format, Claim]] = {}
    for known in REGISTRY:
        for claim in known.claims(children):
            found.setdefault(claim.name, (known, claim))
    return tuple(found.values())


def markers() -> frozenset[str]:
    """Names of files whose appearance completes a save of some format."""
    return frozenset(known.marker for known in REGISTRY if known.marker)


def exports(children: Sequence[Entry]) -> frozenset[str]:
    """Names among a directory's own children that belong to a final export of any format."""
    return frozenset(name for known in REGISTRY for name in known.exports(children))
