"""Whether a save on disk is whole, by its containers alone: ckptd has no say in it."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path


def is_whole(place: Path) -> bool:
    """Whether its state can be read, there are weights, and each container is whole."""
    try:
        json.loads((place / "trainer_state.json").read_text())
        files = sorted(place.iterdir())
        archives = [file for file in files if file.suffix in {".pt", ".pth", ".bin"}]
        weights = [file for file in files if file.suffix == ".safetensors"]
        return bool(weights) and all(map(_archive, archives)) and all(map(_safetensors, weights))
    except (OSError, ValueError):
        return False


def _archive(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return archive.testzip() is None


def _safetensors(file: Path) -> bool:
    with open(file, "rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    ends = (about["data_offsets"][1] for name, about in header.items() if name != "__metadata__")
    return os.path.getsize(file) == 8 + length + max(ends, default=0)
