"""The durable memory: intents and outcomes, adopted runs, sizes and times of past saves.

Intents lie in preallocated slots (`slots`), everything else in SQLite (`database`); what SQLite
cannot take waits in its slot, and what the ledger's own disk cannot take in a `refuge`. `Ledger`
writes, `LedgerView` reads and creates nothing.
"""

from ckptd.ledger.book import Ledger
from ckptd.ledger.record import ACTS, Record, Save, new_id
from ckptd.ledger.refuge import has_refuge
from ckptd.ledger.view import LedgerView

__all__ = ["ACTS", "Ledger", "LedgerView", "Record", "Save", "has_refuge", "new_id"]
