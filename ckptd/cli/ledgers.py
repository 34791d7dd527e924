"""The ledger of this machine, as commands open it."""

from __future__ import annotations

from ckptd import disk
from ckptd.errors import UnreadableError
from ckptd.ledger import Ledger, LedgerView
from ckptd.places import of_this_machine, state_directory


def directory(chosen: str | None) -> tuple[str, bool]:
    """The ledger's directory, and whether SQLite may use a WAL there.

    Where other hosts may write, each machine has its own: two that share a home directory share
    no ledger.
    """
    state = state_directory(chosen)
    try:
        shared, wal = disk.measure(state).shared, disk.maps_hold(state)
    except UnreadableError:  # whoever opens the ledger says what is wrong
        shared, wal = False, False
    return (of_this_machine(state) if shared else state), wal


def opened(chosen: str | None) -> Ledger:
    """The ledger, open for writing. LedgerError."""
    place, wal = directory(chosen)
    return Ledger(place, wal=wal)


def view(chosen: str | None) -> LedgerView:
    """What the ledger knows, which need not exist."""
    return Ledger.read_only(directory(chosen)[0])
