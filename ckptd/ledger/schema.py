"""The tables of the ledger's SQLite file, and how an older file comes to have them."""

from __future__ import annotations

import sqlite3
from itertools import chain
from typing import Final

_APPLICATION: Final = 0x636B7074  # "ckpt" in SQLite's header: the file is ours
# Each version is what its predecessor lacks, so that a new file is made as an old one is mended.
_VERSIONS: Final = (
    (
        """CREATE TABLE records (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at REAL NOT NULL,
            event TEXT NOT NULL, outcome TEXT NOT NULL, checkpoint BLOB NOT NULL,
            run BLOB NOT NULL, body BLOB NOT NULL)""",
        "CREATE INDEX records_at ON records (at)",
        "CREATE INDEX records_checkpoint ON records (checkpoint)",
        """CREATE TABLE saves (
            run BLOB NOT NULL, name BLOB NOT NULL, saved_at REAL NOT NULL, step TEXT,
            bytes INTEGER NOT NULL, duration REAL,
            PRIMARY KEY (run, name, saved_at)) WITHOUT ROWID""",
        "CREATE TABLE adopted (run BLOB PRIMARY KEY, inode TEXT NOT NULL) WITHOUT ROWID",
    ),
    (  # whoever does not know of this column has told what it puts in
        "ALTER TABLE records ADD COLUMN told INTEGER NOT NULL DEFAULT 1",
        "CREATE INDEX records_untold ON records (seq) WHERE told = 0",
    ),
)


_WHOLE: Final = (
    "SELECT seq, id, at, event, outcome, checkpoint, run, body, told FROM records LIMIT 0",
    "SELECT run, name, saved_at, step, bytes, duration FROM saves LIMIT 0",
    "SELECT run, inode FROM adopted LIMIT 0",
)


class StrangeError(sqlite3.DatabaseError):
    """A file that is whole but no ledger, or one that a newer ckptd writes."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.sqlite_errorcode = code


class NewerError(StrangeError):
    """A ledger of a newer ckptd, which alone knows how to write it."""


def check(db: sqlite3.Connection) -> None:
    """Raises StrangeError for a file that is none of ours to write."""
    application, version = _header(db)
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == _APPLICATION and version > len(_VERSIONS):
        raise NewerError("a newer ckptd writes it", sqlite3.SQLITE_PERM)
    if application != _APPLICATION and tables:
        raise StrangeError("it is no ledger", sqlite3.SQLITE_NOTADB)


def bring_up(db: sqlite3.Connection) -> None:
    """Makes the tables and columns that lack. Several processes may do so at the same time.

    In one transaction: a crash in the middle leaves the file as it was. Raises
    sqlite3.OperationalError for a file that says it has them all and has not.
    """
    if _header(db) == (_APPLICATION, len(_VERSIONS)):
        for question in _WHOLE:
            db.execute(question)
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        _, version = _header(db)  # again: another process may have been faster
        for statement in chain.from_iterable(_VERSIONS[version:]):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {len(_VERSIONS)}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _header(db: sqlite3.Connection) -> tuple[int, int]:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return application, version
