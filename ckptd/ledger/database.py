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

from ckptd.ledger.ground import Ground
from ckptd.ledger.schema import NewerError, StrangeError, bring_up, check
from ckptd.units import show_text

Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]
_T = TypeVar("_T")

_BUSY: Final = 2.0  # seconds to wait for another ckptd before a record goes to a slot instead
# ERROR: a table or a column that every ledger has is not there.
_DAMAGED: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_FORMAT,
    }
)
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


class Database:
    """Reads and writes for several threads, over one connection that is opened when needed.

    `wal` is off where the memory that it maps reaches no other host, or has no room on a disk that
    is full (`disk.maps_hold`). A damaged file is renamed beside and a new one begun; `alarms` tells
    of it. None is begun while its *ground* is away.
    """

    def __init__(self, path: str, ground: Ground, *, wal: bool = True) -> None:
        self._reader = DatabaseReader(path)
        self.alarms = self._reader.alarms
        self._path = path
        self._wal = wal
        self._ground = ground
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
        found = self.rows_to_change(query, values)
        # On a full disk SQLite cannot even make the files that a reader shares with writers.
        return self._reader.rows(query, values) if found is None else found

    def rows_to_change(self, query: str, values: Sequence[Any] = ()) -> list[Row] | None:
        """What *query* finds in a file that can be written now; None when it cannot."""
        return self._attempt(lambda db: db.execute(query, values).fetchall())

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
                except UnicodeDecodeError as error:  # what SQLite says of damage quotes it
                    self.close()
                    self._set_aside(str(error))
                except sqlite3.DatabaseError as error:
                    self.close()
                    if isinstance(error, NewerError):
                        self.alarms[_newer_text(self._path)] = None
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
            raise StrangeError("it is not a regular file", sqlite3.SQLITE_NOTADB)
        if self._ground.is_away(os.path.basename(self._path)):
            raise _AwayError("its filesystem is not mounted")
        db = sqlite3.connect(
            self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        db.text_factory = _text
        try:
            check(db)
            _use_journal(db, wal=self._wal)
            bring_up(db)
        except (sqlite3.DatabaseError, UnicodeDecodeError):
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


class _AwayError(sqlite3.OperationalError):
    sqlite_errorcode = sqlite3.SQLITE_CANTOPEN


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
                db.text_factory = _text
                return db.execute(query, values).fetchall()
        except OSError:
            return []
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self.alarms[f"{show_text(self._path)} cannot be read: {error}"] = None
            return []

    def _uri(self) -> str:
        # A reader of a WAL file would create its -wal and -shm where there are none; a file
        # without them was closed cleanly, so it is all there is.
        waits = all(os.path.exists(self._path + suffix) for suffix in ("-wal", "-shm"))
        journal = os.path.exists(self._path + "-journal")
        mode = "ro" if waits or journal else "ro&immutable=1"
        return f"file:{quote(os.fsencode(os.path.abspath(self._path)))}?mode={mode}"


def _text(raw: bytes) -> str:
    """A text that a disk may have changed is no reason to read nothing."""
    return raw.decode("utf-8", "replace")


def _newer_text(path: str) -> str:
    return (
        f"{show_text(path)} is one that a newer ckptd writes, so records wait beside it and"
        " the history ends here; install that ckptd again, or name another state directory with"
        " --state"
    )


def _use_journal(db: sqlite3.Connection, *, wal: bool) -> None:
    try:
        db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'TRUNCATE'}")
    except sqlite3.OperationalError as error:
        if _code(error) not in _NO_WAL:  # else it stays with the journal that works
            raise


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
