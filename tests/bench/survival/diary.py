"""What those on a disk note down, one JSON object a line, and how it is read again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Note = dict[str, Any]


@dataclass(frozen=True)
class Diary:
    """Lies on another disk than the one that fills."""

    path: Path

    def note(self, event: str, *, at: float | None = None, **fields: Any) -> None:
        moment = time.monotonic() if at is None else at
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"at": moment, "event": event, **fields}) + "\n")

    def read(self, *events: str) -> list[Note]:
        """Its notes of these *events*, or all, in order."""
        if not self.path.exists():
            return []
        notes = (json.loads(line) for line in self.path.read_text("utf-8").splitlines())
        return [note for note in notes if not events or note["event"] in events]
