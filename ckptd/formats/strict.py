"""Directories that a trainer lists without allowing for any name but its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from posixpath import basename
from typing import Final

STRICT: Final = "checkpoints"
_ACCELERATE: Final = re.compile(r"checkpoint_\d+")


def lists_strictly(directory: str, names: Sequence[str]) -> str | None:
    """The trainer that dies of a name such as `.ckptd.toml` in *directory*, which holds *names*.

    Accelerate with automatic naming takes a number out of every name in `<project>/checkpoints`
    (accelerator.py, save_state). A directory of that name that holds anything else was not made by
    it, or it would have died already.
    """
    if basename(directory) != STRICT:
        return None
    visible = [name for name in names if not name.startswith(".")]
    return "Accelerate" if all(map(_ACCELERATE.fullmatch, visible)) else None
