"""What one audit event costs its teller, beside peers that send as much to the same journal.

    python tests/bench/bench_audit.py [--rounds 15] [--events 500]

The journal is a real journald in a box of its own (root, systemd-nspawn), else a socket that
another process empties. Four ways take turns: `ckptd` records an event and tells it, `telling`
is that without the ledger, `logging` is the standard library's with its SysLogHandler, and `send`
a bare send of the bytes that ckptd sends. Printed, for the clock and for the teller's CPU, are
medians of the rounds and the median ratio to `logging` with its spread.
"""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from measuring import ratio

from ckptd import audit, logs
from ckptd.ledger import Ledger, Record
from ckptd.logs.journal import journal_datagram

sys.path.append(str(Path(__file__).parents[1]))
from box import booted, lacking

# At once, and then a pause: more than journald reads meanwhile would wait in its socket.
BATCH = 50
PAUSE = 0.02
PEER = "logging"
Way = Callable[[Record], object]
Took = dict[str, list[float]]
DRAIN = """
import socket, sys
place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
place.bind(sys.argv[1])
print(flush=True)
while place.recv(2**20): pass
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--events", type=int, default=500, help="of each way in a round")
    parser.add_argument("--sockets", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sockets:
        took = measured(*options.sockets, options.rounds, options.events)
        print(json.dumps(took))
        return
    given = ("--rounds", options.rounds, "--events", options.events)
    with tempfile.TemporaryDirectory() as place:
        wall, cpu = in_a_box(place, given) if not lacking() else beside_a_socket(place, given)
    for what, took in (("wall", wall), ("CPU", cpu)):
        for name, each in took.items():
            beside = "" if name == PEER else f"  {ratio(each, took[PEER])} {PEER}"
            spread = f"{min(each):.0f} to {max(each):.0f}"
            print(f"{what:4} {name:8} {statistics.median(each):7.1f} us ({spread}){beside}")


def in_a_box(place: str, given: Sequence[object]) -> list[Took]:
    print("a real journald")
    with booted(Path(place)) as box:
        command = [sys.executable, __file__, *given]
        ran = box.run(*command, "--sockets", logs.JOURNAL, "/dev/log", seconds=600)
    return json.loads(ran.stdout)


def beside_a_socket(place: str, given: Sequence[object]) -> list[Took]:
    print(f"a socket instead of a journald: {lacking()}")
    at = f"{place}/journal"
    command = [sys.executable, __file__, *map(str, given), "--sockets", at, at]
    drain = [sys.executable, "-c", DRAIN, at]
    with subprocess.Popen(drain, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        try:
            return json.loads(subprocess.check_output(command))
        finally:
            reader.terminate()


def measured(journal: str, syslog: str, rounds: int, events: int) -> tuple[Took, Took]:
    """Microseconds of an event in each round, by the clock and of this process's CPU."""
    with ways(journal, syslog) as found:
        wall: Took = {name: [] for name in found}
        cpu: Took = {name: [] for name in found}
        for round_ in range(-1, rounds):  # the first one warms what is cached
            for name, way in found.items():
                passed, spent = one_round(way, events)
                if round_ >= 0:
                    wall[name].append(passed * 1e6 / events)
                    cpu[name].append(spent * 1e6 / events)
    return wall, cpu


def one_round(way: Way, events: int) -> tuple[float, float]:
    passed = spent = 0.0
    for _ in range(events // BATCH):
        records = [record(number) for number in range(BATCH)]
        begun, before = time.perf_counter(), time.process_time()
        for each in records:
            way(each)
        passed += time.perf_counter() - begun
        spent += time.process_time() - before
        time.sleep(PAUSE)
    return passed, spent


@contextmanager
def ways(journal: str, syslog: str) -> Iterator[dict[str, Way]]:
    logs.configure("journal", journal=journal)
    handler = logging.handlers.SysLogHandler(address=syslog)
    standard = logging.getLogger("bench")
    standard.propagate = False
    standard.addHandler(handler)
    with ExitStack() as stack:
        stack.callback(handler.close)
        state = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
        ledger = stack.enter_context(Ledger(state))
        bare = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        bare.connect(journal)
        teller = audit.Audit(ledger)
        datagram = journal_datagram(audit.event(record(0)))
        yield {
            "ckptd": lambda each: recorded_and_told(ledger, teller, each),
            "telling": audit._say,
            "logging": lambda each: standard.warning(audit.sentence(each)),
            "send": lambda _: bare.send(datagram),
        }
        assert teller.waiting == 0, "the journal did not keep up, so this is no measure of telling"


def recorded_and_told(ledger: Ledger, teller: audit.Audit, each: Record) -> None:
    ledger.note(each)
    teller.tell(each)


def record(number: int) -> Record:
    return Record(
        event="evict",
        at=time.time(),
        checkpoint=f"/data/experiments/run-7/checkpoint-{number}",
        run="/data/experiments/run-7",
        step=number,
        bytes=1_288_490_189,
        rule="keep_last",
        reason="3rd newest; keep_last is 2",
    )


if __name__ == "__main__":
    main()
