"""A process that works with a ledger and is killed at one named point of its work."""

import os
import signal
import sys

from ckptd.ledger import Ledger, Record

STEPS = ("opened", "intended", "acted", "concluded", "noted", "adopted", "closed")


def work(state_dir, act, until):
    """Every step in its order; dies by SIGKILL right after the step *until*."""

    def reached(step):
        if step == until:
            os.kill(os.getpid(), signal.SIGKILL)

    with Ledger(state_dir) as ledger:
        reached("opened")
        record = ledger.intend(Record(event="evict", at=1.0, checkpoint="/r/c", run="/r", id="act"))
        reached("intended")
        with open(act, "w"):
            pass
        reached("acted")
        ledger.conclude(record.id, "done", bytes=7)
        reached("concluded")
        ledger.note(Record(event="recognised", at=2.0, checkpoint="/r/d", run="/r", id="fact"))
        reached("noted")
        ledger.adopt("/r", 5)
        reached("adopted")
    reached("closed")


def hold(state_dir):
    """Intends and lives on, until standard input ends."""
    with Ledger(state_dir) as ledger:
        ledger.intend(Record(event="evict", at=1.0, checkpoint="/r/c", run="/r", id="held"))
        print("intended", flush=True)
        sys.stdin.read()


def crowd(state_dir, name, count):
    """Takes *count* acts from intent to outcome, beside others that do the same."""
    with Ledger(state_dir) as ledger:
        for number in range(int(count)):
            record = Record(event="evict", at=float(number), checkpoint=f"/r/{name}-{number}")
            ledger.conclude(ledger.intend(record).id, "done")


if __name__ == "__main__":
    {"work": work, "hold": hold, "crowd": crowd}[sys.argv[1]](*sys.argv[2:])
