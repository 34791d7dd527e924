"""What the ledger asks SQLite to write. Each may run twice for the same thing:
a crash can come between SQLite and the slot.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from ckptd.errors import UnansweredError
from ckptd.ledger.database import Row, Statement
from ckptd.ledger.record import Record, Save, pack, step_text
from ckptd.mounts import asked
from ckptd.units import DAY

_LARGEST: Final = 2**63 - 1  # what an integer of SQLite holds
_REMEMBER: Final = (
    "INSERT INTO records (id, at, event, outcome, checkpoint, run, body, told)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET told = max(told, excluded.told)"
)
_ADOPT: Final = (
    "INSERT INTO adopted (run, inode) VALUES (?, ?)"
    " ON CONFLICT (run) DO UPDATE SET inode = excluded.inode"
)
_SAVE: Final = (
    "INSERT INTO saves (run, name, saved_at, step, bytes, duration)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
TOLD: Final = "UPDATE records SET told = 1 WHERE id = ?"
UNTELL: Final = "UPDATE records SET told = 0 WHERE id = ?"
LET_BE: Final = "UPDATE records SET told = 1 WHERE told = 0 AND at < ?"
# The plus keeps SQLite from looking at all of these days: few of their records wait, if any.
UNTOLD: Final = (
    "SELECT body FROM records WHERE told = 0 AND (+at >= ? AND +at < ? OR +id IN (%s))"
    " ORDER BY seq LIMIT ?"
)
TOLD_LAST: Final = (
    "SELECT id FROM records WHERE told = 1 AND at < ?"
    " AND at >= (SELECT max(at) FROM records WHERE at < ?) - ? ORDER BY seq DESC LIMIT ?"
)
# Whoever looks back further has the journal. What waits to be told waits on.
_KEPT: Final = 400 * DAY
_KEPT_SAVES: Final = 200  # of a run, the newest; four times what anybody asks for
_KEPT_RUNS: Final = 180 * DAY  # after its last save a run that is gone is not met again
_FORGET_RECORDS: Final = (
    "DELETE FROM records WHERE seq IN"
    # A clock that is set far ahead at a start makes nothing old: the newest record counts too.
    " (SELECT seq FROM records WHERE at < min(?, (SELECT max(at) FROM records)) - ?"
    " AND told = 1 ORDER BY at LIMIT ?)"
)
_FORGET_SAVES: Final = (
    "DELETE FROM saves WHERE run = ? AND saved_at <"
    " (SELECT saved_at FROM saves WHERE run = ? ORDER BY saved_at DESC LIMIT 1 OFFSET ?)"
)
_FORGET_RUN: Final = "DELETE FROM saves WHERE run = ?"
RUNS: Final = "SELECT run, max(saved_at), count(*) FROM saves GROUP BY run"
_AT_MOST: Final = 50_000  # records in one go, so that nobody waits for it


def remembering(record: Record, *, told: bool = False) -> Sequence[Statement]:
    """How SQLite takes *record*, and an adoption with it."""
    run = os.fsencode(record.run)
    remember = (
        record.id,
        record.at,
        record.event,
        record.outcome,
        os.fsencode(record.checkpoint),
        run,
        pack(record),
        told,
    )
    if record.event != "adopt":
        return [(_REMEMBER, remember)]
    return [(_REMEMBER, remember), (_ADOPT, (run, str(record.details["inode"])))]


def having_saved(save: Save) -> Statement:
    """How SQLite takes *save*; the same one again changes nothing."""
    values = (
        os.fsencode(save.run),
        os.fsencode(save.name),
        save.saved_at,
        step_text(save.step),
        min(save.bytes, _LARGEST),
        save.duration,
    )
    return (_SAVE, values)


def forgetting(now: float, runs: Iterable[Row]) -> Sequence[Statement]:
    """How SQLite forgets what nobody asks for any more; *runs* are the rows of RUNS."""
    forget: list[Statement] = [(_FORGET_RECORDS, (now, _KEPT, _AT_MOST))]
    for run, last, count in runs:
        if last < now - _KEPT_RUNS and _is_gone(run):
            forget.append((_FORGET_RUN, (run,)))
        elif count > _KEPT_SAVES:
            forget.append((_FORGET_SAVES, (run, run, _KEPT_SAVES - 1)))
    return forget


def _is_gone(run: bytes) -> bool:
    """Where nobody answers nothing is known to be gone."""
    path = os.fsdecode(run)
    with suppress(UnansweredError):
        return not asked(path, lambda: os.path.lexists(path))
    return False
