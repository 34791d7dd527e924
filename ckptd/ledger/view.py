"""What the ledger knows, to read: from SQLite, and from the slots that wait for it."""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ckptd.errors import LedgerError
from ckptd.ledger.database import DatabaseReader, Row
from ckptd.ledger.held import Slot, SlotReader
from ckptd.ledger.record import ACTS, Record, Save, step_number, unpacked

DATABASE: Final = "ledger.db"
SLOT_FILE: Final = "intents"
_BATCH: Final = 1000  # records that are read at a time


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
        known = {os.fsdecode(run): int(inode) for run, inode in rows if _is_adoption(run, inode)}
        waiting = (slot.record for slot in self._slots() if slot.record.event == "adopt")
        return known | {r.run: r.details["inode"] for r in waiting if "inode" in r.details}

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
            if _is_save(name, step, size, saved_at, duration)
        )

    def history(
        self,
        since: float | None = None,
        paths: Sequence[str] = (),
        limit: int | None = None,
        events: Collection[str] = (),
    ) -> Iterator[Record]:
        """Records since a moment (seconds since 1970), oldest first; the newest *limit* of them.

        With *paths*, those of checkpoints and runs at or below one of them; with *events*, of
        these alone. They are read as they are asked for, so the history may be of any length.
        """
        wanted = _Wanted(since, paths, events)
        waiting = {r.id: r for r in self._waiting(wanted) if not self._concluded(r.id)}
        stored = (r for r in self._stored(wanted, limit) if r.id not in waiting)
        merged = heapq.merge(stored, waiting.values(), key=lambda record: record.at)
        return merged if limit is None else iter(deque(merged, maxlen=limit))

    def last(self, path: str, events: Collection[str] = ACTS) -> Record | None:
        """The newest record of *events* on the checkpoint *path*, whatever came of it."""
        marks = ",".join("?" * len(events))
        rows = self._rows.rows(
            f"SELECT body FROM records WHERE checkpoint = ? AND event IN ({marks})"  # noqa: S608  only question marks go in
            " ORDER BY at DESC, seq DESC LIMIT 1",
            (os.fsencode(path), *events),
        )
        known = list(self._read(rows))
        waiting = (slot.record for slot in self._slots())
        found = [r for r in waiting if r.checkpoint == path and r.event in events]
        return max(known + found, key=lambda record: record.at, default=None)

    def record(self, ident: str) -> Record | None:
        """The record with this id, its outcome where one is known."""
        rows = self._rows.rows("SELECT body FROM records WHERE id = ?", (ident,))
        for record in self._read(rows):
            return record
        return next((s.record for s in self._slots() if s.record.id == ident), None)

    def _slots(self) -> tuple[Slot, ...]:
        try:
            return self._held.read()
        except LedgerError as error:
            self._alarms[str(error)] = None
            return ()

    def _concluded(self, ident: str) -> bool:
        return bool(self._rows.rows("SELECT 1 FROM records WHERE id = ?", (ident,)))

    def _stored(self, wanted: _Wanted, limit: int | None) -> Iterator[Record]:
        """Records of SQLite, oldest first, beginning where the newest *limit* of them begin."""
        where, values = wanted.clause()
        after = (float("-inf") if wanted.since is None else wanted.since, -1)
        if limit is not None:
            first = self._rows.rows(
                f"SELECT at, seq - 1 FROM records WHERE (at, seq) > (?, ?) AND {where}"  # noqa: S608  only question marks go in
                " ORDER BY at DESC, seq DESC LIMIT 1 OFFSET ?",
                (*after, *values, max(0, limit - 1)),
            )
            after = first[0] if first else after
        while rows := self._rows.rows(
            f"SELECT at, seq, body FROM records WHERE (at, seq) > (?, ?) AND {where}"  # noqa: S608  only question marks go in
            " ORDER BY at, seq LIMIT ?",
            (*after, *values, _BATCH),
        ):
            yield from self._read(rows)
            after = rows[-1][:2]

    def _read(self, rows: Iterable[Row]) -> Iterator[Record]:
        """The records in *rows*, which end with the body; a disk may have changed some of them."""
        for *_, body in rows:
            record = unpacked(body)
            if record is None:
                self._alarms["some records of the ledger cannot be read and are left out"] = None
            else:
                yield record

    def _waiting(self, wanted: _Wanted) -> list[Record]:
        """Records that are in slots, oldest first."""
        records = (slot.record for slot in self._slots())
        return sorted(filter(wanted.has, records), key=lambda record: record.at)


def _is_adoption(run: Any, inode: Any) -> bool:
    """Whether these columns are what was written: SQLite proves neither bytes nor types."""
    return isinstance(run, bytes) and isinstance(inode, str) and inode.isdecimal()


def _is_save(name: Any, step: Any, size: Any, saved_at: Any, duration: Any) -> bool:
    """As `_is_adoption`."""
    return (
        isinstance(name, bytes)
        and (step is None or (isinstance(step, str) and step.isdecimal()))
        and type(size) is int
        and isinstance(saved_at, float)
        and isinstance(duration, float | None)
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which records are asked for, as a clause of SQL and as a question to one of them."""

    since: float | None
    paths: Sequence[str]
    events: Collection[str]

    def clause(self) -> tuple[str, list[Any]]:
        """What of it SQLite is asked, beside the moment."""
        marks = ",".join("?" * len(self.events))
        event = f"event IN ({marks})" if self.events else "1"
        below, values = _below(self.paths)
        return f"({event}) AND ({below})", [*self.events, *values]

    def has(self, record: Record) -> bool:
        return (
            (self.since is None or record.at >= self.since)
            and (not self.events or record.event in self.events)
            and (not self.paths or any(_lies_below(record, path) for path in self.paths))
        )


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
