"""Records and tells as fast as it can, as a service: `burst.py COUNT [PAUSE ...]`.

After so many records as each PAUSE says it leaves the file `paused` in its state directory and
goes on when somebody takes it away. It ends when everything was told.
"""

import os
import sys
import time
from pathlib import Path

from ckptd import audit, logs
from ckptd.audit import Audit
from ckptd.ledger import Ledger, Record
from ckptd.places import state_directory

EVENTS = tuple(audit.MESSAGE_IDS)


def main():
    count, *pauses = map(int, sys.argv[1:])
    state = Path(state_directory(None))
    logs.configure()
    with Ledger(str(state)) as ledger:
        teller = Audit(ledger, others=True)
        for number in range(count):
            if number in pauses:
                pause(state / "paused")
            each = record(number, state.name)
            assert ledger.note(each)
            teller.tell(each)
        while teller.waiting:
            if not teller.replay():
                time.sleep(0.1)


def pause(file):
    file.touch()
    while file.exists():
        time.sleep(0.02)


def record(number, burst):
    """Something of everything that a record may hold; no other *burst* has its id."""
    odd = number % 2
    return Record(
        event=EVENTS[number % len(EVENTS)],
        at=time.time(),
        checkpoint=f"/data/检查点 {number}/checkpoint-{number}",
        run="/data/a\nb=\udcff" if number % 5 == 0 else f"/data/检查点 {number}",
        step=number if odd else None,
        bytes=number * 2**20,
        rule="keep_last" if odd else "",
        reason="x" * 6000 if number % 1000 == 0 else f"{number}th newest; keep_last is 2",
        outcome="failed" if number % 7 == 0 else "done",
        error=os.strerror(30) if number % 7 == 0 else None,
        details={"inode": number},
        id=f"{burst}-{number}",
    )


if __name__ == "__main__":
    main()
