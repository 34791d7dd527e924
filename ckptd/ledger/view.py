"""What the ledger knows, to read: from SQLite, and from the slots that wait for it."""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from ckptd.errors import LedgerError
from ckptd.ledger.database import DatabaseReader, Row
from ckptd.ledger.record import ACTS, Record, Save, step_number, unpack
from ckptd.ledger.slots import Slot, SlotReader

DATABASE: Final = "ledger.db"
SLOT_FILE: Final = "intents"


class _Rows(Protocol):
    alarms: dict[str, None]

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]: ...


class _Held(Protocol):
    def read(self) -> tuple[Slot, ...]: ...


class LedgerView:
    """Facts of a state directory. Nothing is created; what is absent or unreadable is empty.

    `alarms` says what could not be read, in sentences.
    """

    def __init__(self, slots: _Held, database: _Rows) -> None:
        self._held = slots
        self._rows = database
        self._alarms: dict[str, None] = {}

    @classmethod
    def of(cls, state_dir: str) -> LedgerView:
        """The view of *state_dir*, which need not exist."""
        return cls(
            SlotReader(os.path.join(state_dir, SLOT_FILE)),
            DatabaseReader(os.path.join(state_dir, DATABASE)),
        )

    @property
    def alarms(self) -> tuple[str, ...]:
        """What went wrong with the memory itself, each sentence once."""
        return tuple({**self._alarms, **self._rows.alarms})

    def unfinished(self) -> tuple[Record, ...]:
        """Intents without an outcome whose process is gone, oldest first."""
        waiting = [slot.record for slot in self._slots() if not (slot.settled or slot.live)]
        return tuple(record for record in waiting if not self._concluded(record.id))

    def adopted(self) -> Mapping[str, int]:
        """The inode of each adopted run's directory, by its path."""
        rows = self._rows.rows("SELECT run, inode FROM adopted")
        known = {os.fsdecode(run): int(inode) for run, inode in rows}
        waiting = (slot.record for slot in self._slots() if slot.record.event == "adopt")
        return known | {record.run: record.details["inode"] for record in waiting}

    def is_adopted(self, run: str, inode: int) -> bool:
        """Whether the directory that now lies at *run* is the one that was adopted."""
        return self.adopted().get(run) == inode

    def saves(self, run: str, limit: int = 50) -> tuple[Save, ...]:
        """The last *limit* saves of *run*, newest last."""
        rows = self._rows.rows(
            "SELECT name, step, bytes, saved_at, duration FROM saves"
            " WHERE run = ? ORDER BY saved_at DESC, name DESC LIMIT ?",
            (os.fsencode(run), limit),
        )
        return tuple(
            Save(
                run=run,
                name=os.fsdecode(name),
                step=step_number(step),
                bytes=size,
                saved_at=saved_at,
                duration=duration,
            )
            for name, step, size, saved_at, duration in reversed(rows)
        )

    def history(
        self, since: float | None = None, paths: Sequence[str] = (), limit: int | None = None
    ) -> Iterator[Record]:
        """Records since a moment (seconds since 1970), oldest first; the newest *limit* of them.

        With *paths*, those of checkpoints and runs at or below one of them.
        """
        where, values = _below(paths)
        rows = self._rows.rows(
            f"SELECT body FROM records WHERE at >= ? AND ({where})"  # noqa: S608  only question marks go in
            " ORDER BY at DESC, seq DESC LIMIT ?",
            (float("-inf") if since is None else since, *values, -1 if limit is None else limit),
        )
        known = [unpack(body) for (body,) in reversed(rows)]
        waiting = self._waiting({record.id for record in known}, since, paths)
        merged = list(heapq.merge(known, waiting, key=lambda record: record.at))
        return iter(merged if limit is None else merged[max(0, len(merged) - limit) :])

    def last(self, path: str, events: Collection[str] = ACTS) -> Record | None:
        """The newest record of *events* on the checkpoint *path*, whatever came of it."""
        marks = ",".join("?" * len(events))
        rows = self._rows.rows(
            f"SELECT body FROM records WHERE checkpoint = ? AND event IN ({marks})"  # noqa: S608  only question marks go in
            " ORDER BY at DESC, seq DESC LIMIT 1",
            (os.fsencode(path), *events),
        )
        known = [unpack(body) for (body,) in rows]
        waiting = (slot.record for slot in self._slots())
        found = [r for r in waiting if r.checkpoint == path and r.event in events]
        return max(known + found, key=lambda record: record.at, default=None)

    def record(self, ident: str) -> Record | None:
        """The record with this id, its outcome where one is known."""
        rows = self._rows.rows("SELECT body FROM records WHERE id = ?", (ident,))
        if rows:
            return unpack(rows[0][0])
        return next((s.record for s in self._slots() if s.record.id == ident), None)

    def _slots(self) -> tuple[Slot, ...]:
        try:
            return self._held.read()
        except LedgerError as error:
            self._alarms[str(error)] = None
            return ()

    def _concluded(self, ident: str) -> bool:
        return bool(self._rows.rows("SELECT 1 FROM records WHERE id = ?", (ident,)))

    def _waiting(
        self, known: Collection[str], since: float | None, paths: Sequence[str]
    ) -> list[Record]:
        """Records that are in slots only, oldest first."""
        records = (slot.record for slot in self._slots())
        wanted = (
            record
            for record in records
            if (since is None or record.at >= since)
            and record.id not in known
            and (not paths or any(_lies_below(record, path) for path in paths))
        )
        return sorted(wanted, key=lambda record: record.at)


def _below(paths: Sequence[str]) -> tuple[str, list[Any]]:
    if not paths:
        return "1", []
    terms: list[str] = []
    values: list[Any] = []
    for path in paths:
        place = os.fsencode(path.rstrip("/"))
        for column in ("checkpoint", "run"):
            terms.append(f"{column} = ? OR substr({column}, 1, ?) = ?")
            values += [place, len(place) + 1, place + b"/"]
    return " OR ".join(terms), values


def _lies_below(record: Record, path: str) -> bool:
    place = path.rstrip("/")
    return any(
        at == place or at.startswith(place + "/") for at in (record.checkpoint, record.run) if at
    )
