"""Ten thousand audit events into a real journal: each there once, as `ckptd history` has it."""

import re
import sys
import time
from pathlib import Path

import pytest
from box import UNIT, until
from listening import BARE, journal_fields

from ckptd.logs.gap import HICCUP

COUNT = 10_000
BURST = Path(__file__).with_name("burst.py")
JOURNALD = "systemd-journald.service"
SOCKETS = [f"systemd-journald{name}.socket" for name in ("", "-dev-log", "-audit")]
STANDARD = {name.upper() for name in BARE}


class Burst:
    """`burst.py` as a service with the limits of ckptd's own unit."""

    def __init__(self, box, name):
        self.box = box
        self.unit = f"{name}.service"
        self._state = box.root / "var/lib" / name
        box.install(self.unit, UNIT.read_text())

    def start(self, *pauses):
        command = " ".join(map(str, [sys.executable, BURST, COUNT, *pauses]))
        settings = {"Type": "exec", "WatchdogSec": "0", "Restart": "no", "ExecStart": command}
        self.box.override(self.unit, **settings, StateDirectory=self._state.name)
        self.box.run("systemctl", "start", self.unit)

    def wait_for_pause(self):
        assert until(lambda: (self._state / "paused").exists() or not self._runs(), 120)
        assert self._runs(), self.box.run("systemctl", "status", self.unit, check=False).stdout

    def go_on(self):
        (self._state / "paused").unlink()

    def end(self):
        """Waits for its end; what the history has and what the journal has, in their orders.

        Both by the names that the journal has.
        """
        assert until(lambda: not self._runs(), 120)
        assert self.box.show(self.unit, "Result") == "success"
        told = self.box.ckptd("history", "--state", f"/var/lib/{self._state.name}")["events"]
        entries = self.box.journal(f"_SYSTEMD_UNIT={self.unit}", "SYSLOG_IDENTIFIER=ckptd")
        return [journal_fields(event) for event in told], [ours_of(each) for each in entries]

    def _runs(self):
        return self.box.show(self.unit, "ActiveState") not in ("inactive", "failed")


@pytest.fixture
def burst(box, request):
    burst = Burst(box, request.node.name.replace("_", "-"))
    yield burst
    box.remove(burst.unit)


def ours_of(entry):
    return {key: v for key, v in entry.items() if key in STANDARD or key.startswith("CKPTD_")}


def same(told, there, more=0):
    """Whether the journal has what the history has, record by record: COUNT of them and *more*."""
    assert len(told) == COUNT + more
    lost = {event["CKPTD_ID"] for event in told} - {event["CKPTD_ID"] for event in there}
    assert not lost, f"{len(lost)} are not in the journal, such as {sorted(lost)[:5]}"
    assert len(there) == len(told), "some are twice in the journal"
    return there == told


def waited(told):
    """How many records waited, by what was told of a journal that was away."""
    (text,) = (event["MESSAGE"] for event in told if event.get("CKPTD_RULE") == "ledger")
    return int(re.search(r"(\d+) records waited in the ledger", text)[1])


def told_again(told):
    """How many records were lost with a socket, by what was told of it."""
    (text,) = (event["MESSAGE"] for event in told if event.get("CKPTD_RULE") == "ledger")
    found = re.search(r"lost (\d+) records? it had taken, told again", text)
    return int(found[1]) if found else 0


def by_id(events):
    """In an order that does not depend on which of them was told again."""
    return sorted(events, key=lambda event: event["CKPTD_ID"])


def test_burst_is_told_whole(burst):
    burst.start()

    assert same(*burst.end())


def test_burst_goes_on_while_journald_restarts(burst, box):
    burst.start(2000)
    burst.wait_for_pause()
    burst.go_on()
    box.run("systemctl", "restart", JOURNALD)
    told, there = burst.end()

    assert same(told, there, len(told) - COUNT)  # whether that took longer than a hiccup


def test_burst_waits_while_journald_hangs(burst, box):
    burst.start(3000, 6000)
    burst.wait_for_pause()
    box.run("systemctl", "kill", "--signal=STOP", JOURNALD)
    burst.go_on()
    burst.wait_for_pause()
    time.sleep(HICCUP)
    box.run("systemctl", "kill", "--signal=CONT", JOURNALD)
    burst.go_on()
    told, there = burst.end()

    assert same(told, there, 1)
    assert waited(told) >= 1000  # what its socket took before it was full did not wait


def test_burst_goes_on_while_the_socket_is_stopped(burst, box):
    burst.start(2000, 7000)
    burst.wait_for_pause()
    burst.go_on()
    stop(box)
    burst.wait_for_pause()
    time.sleep(HICCUP)
    start(box)
    burst.go_on()
    told, there = burst.end()

    assert same(by_id(told), by_id(there), 1)
    assert waited(told)


def test_burst_loses_nothing_of_what_lay_in_the_socket(burst, box):
    burst.start(2000, 7000)
    burst.wait_for_pause()
    box.run("systemctl", "kill", "--signal=STOP", JOURNALD)
    burst.go_on()
    burst.wait_for_pause()  # the socket is full by now
    box.run("systemctl", "mask", "--runtime", *SOCKETS, JOURNALD)  # else it is started again
    box.run("systemctl", "kill", "--signal=KILL", JOURNALD)
    stop(box)
    box.run("systemctl", "unmask", "--runtime", *SOCKETS, JOURNALD)
    start(box)
    burst.go_on()
    told, there = burst.end()

    assert same(by_id(told), by_id(there), 1)
    assert told_again(told) >= 100


def stop(box):
    box.run("systemctl", "stop", *SOCKETS, JOURNALD)
    assert box.show(SOCKETS[0], "ActiveState") == "inactive"


def start(box):
    box.run("systemctl", "start", *SOCKETS, JOURNALD)
