"""The ledger's SQLite file: rows while there is room, and a plain no while there is none."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote

from ckptd.units import show_text

Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]
_T = TypeVar("_T")

_APPLICATION: Final = 0x636B7074  # "ckpt" in SQLite's header: the file is ours
_VERSION: Final = 1
_BUSY: Final = 2.0  # seconds to wait for another ckptd before a record goes to a slot instead
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at REAL NOT NULL, event TEXT NOT NULL,
    outcome TEXT NOT NULL, checkpoint BLOB NOT NULL, run BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS records_at ON records (at);
CREATE INDEX IF NOT EXISTS records_checkpoint ON records (checkpoint);
CREATE TABLE IF NOT EXISTS saves (
    run BLOB NOT NULL, name BLOB NOT NULL, saved_at REAL NOT NULL, step TEXT,
    bytes INTEGER NOT NULL, duration REAL, PRIMARY KEY (run, name, saved_at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS adopted (run BLOB PRIMARY KEY, inode TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_WAL: Final = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS}
)
_UNAVAILABLE: Final = _NO_WAL | {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}


class _StrangeError(sqlite3.DatabaseError):
    """A file that is whole but no ledger, or one that a newer ckptd writes."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.sqlite_errorcode = code


class Database:
    """Reads and writes for several threads, over one connection that is opened when needed.

    `wal` is off on a filesystem that other hosts write to: its shared memory does not reach
    them. A damaged file is renamed beside and a new one begun; `alarms` tells of it.
    """

    def __init__(self, path: str, *, wal: bool = True) -> None:
        self._reader = DatabaseReader(path)
        self.alarms = self._reader.alarms
        self._path = path
        self._wal = wal
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None

    def close(self) -> None:
        """Ends the connection; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """What *query* finds; nothing when the file cannot even be read."""
        found = self._attempt(lambda db: db.execute(query, values).fetchall())
        # On a full disk SQLite cannot even make the files that a reader shares with writers.
        return self._reader.rows(query, values) if found is None else found

    def write(self, statements: Sequence[Statement], *, durable: bool) -> bool:
        """Runs *statements* as one transaction; False, with nothing written, when it cannot.

        `durable`: on the disk when it returns. Else a power failure may still undo it.
        """
        return self._attempt(lambda db: _transact(db, statements, durable=durable)) or False

    def _attempt(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        with self._lock:
            for _ in range(2):
                try:
                    return work(self._connected())
                except sqlite3.DatabaseError as error:
                    self.close()
                    if _code(error) in _UNAVAILABLE:
                        return None
                    if _code(error) not in _DAMAGED:
                        raise
                    self._set_aside(str(error))
            return None

    def _connected(self) -> sqlite3.Connection:
        """The connection, renewed when the file at the path is no longer the one it opened."""
        if self._connection is None or self._opened != _identity(self._path):
            self.close()
            self._opened = _identity(self._path)
            self._connection = self._open()
            self._opened = _identity(self._path)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        if os.path.lexists(self._path) and not stat.S_ISREG(os.lstat(self._path).st_mode):
            raise _StrangeError("it is not a regular file", sqlite3.SQLITE_NOTADB)
        db = sqlite3.connect(
            self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(db, wal=self._wal)
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def _set_aside(self, why: str) -> None:
        """Renames the damaged file, unless another process has just done so."""
        aside = f"{self._path}.damaged-{time.time_ns()}"
        shown = show_text(self._path)
        try:
            with _directory_alone(os.path.dirname(self._path)):
                if self._opened is not None and _identity(self._path) == self._opened:
                    _rename(self._path, aside)
                    text = f"{shown} is damaged ({why}); set aside as {show_text(aside)}"
                    self.alarms[text] = None
        except OSError as error:
            self.alarms[f"{shown} is damaged ({why}) and stays: {error.strerror}"] = None


class DatabaseReader:
    """Reads the file of a ckptd that may be running. Creates nothing, not even SQLite's own."""

    def __init__(self, path: str) -> None:
        self.alarms: dict[str, None] = {}
        self._path = path

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """What *query* finds; nothing when there is no file or it cannot be read."""
        try:
            if not stat.S_ISREG(os.lstat(self._path).st_mode):
                return []
            with closing(sqlite3.connect(self._uri(), uri=True, timeout=_BUSY)) as db:
                return db.execute(query, values).fetchall()
        except OSError:
            return []
        except sqlite3.DatabaseError as error:
            self.alarms[f"{show_text(self._path)} cannot be read: {error}"] = None
            return []

    def _uri(self) -> str:
        # A reader of a WAL file would create its -wal and -shm where there are none; a file
        # without them was closed cleanly, so it is all there is.
        waits = all(os.path.exists(self._path + suffix) for suffix in ("-wal", "-shm"))
        journal = os.path.exists(self._path + "-journal")
        mode = "ro" if waits or journal else "ro&immutable=1"
        return f"file:{quote(os.fsencode(os.path.abspath(self._path)))}?mode={mode}"


def _prepare(db: sqlite3.Connection, *, wal: bool) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == _APPLICATION and version > _VERSION:
        raise _StrangeError("a newer ckptd writes it", sqlite3.SQLITE_PERM)
    if application != _APPLICATION and tables:
        raise _StrangeError("it is no ledger", sqlite3.SQLITE_NOTADB)
    try:
        db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'TRUNCATE'}")
    except sqlite3.OperationalError as error:
        if _code(error) not in _NO_WAL:  # else it stays with the journal that works
            raise
    if application != _APPLICATION:
        db.executescript(_SCHEMA)


def _transact(db: sqlite3.Connection, statements: Sequence[Statement], *, durable: bool) -> bool:
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    try:
        for query, values in statements:
            db.execute(query, values)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return True


@contextmanager
def _directory_alone(path: str) -> Iterator[None]:
    """One process at a time: the second must not rename what the first has just begun."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _rename(path: str, aside: str) -> None:
    for suffix in ("-wal", "-shm", "-journal", ""):
        if os.path.lexists(path + suffix):
            os.rename(path + suffix, aside + suffix)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        seen = os.lstat(path)
    except OSError:
        return None
    return (seen.st_dev, seen.st_ino)


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
