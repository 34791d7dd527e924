"""Writes or serves the measures, from a thread of its own."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from ckptd.config import Prometheus
from ckptd.errors import Problem
from ckptd.ledger import Record
from ckptd.model import Plan, World
from ckptd.notice import fact
from ckptd.prometheus import textfile
from ckptd.units import show_text

if TYPE_CHECKING:
    from ckptd.prometheus.measures import Measures, Seen

# As often as most scrape.
EVERY: Final = 15.0
# How long the end waits for a file to go, and a change of the configuration for a port.
LAST_TRY: Final = 0.3
HANDOVER: Final = 1.0
REMEDY: Final = "pip install 'ckptd[prometheus]'"
NOT_THERE: Final = Problem(
    "[prometheus]", "prometheus_client is not installed, so nothing is measured", REMEDY
)


def faults(prometheus: Prometheus) -> tuple[Problem, ...]:
    """What keeps [prometheus] from being obeyed, as far as it can be known beforehand."""
    if not _is_wanted(prometheus):
        return ()
    if find_spec("prometheus_client") is None:
        return (NOT_THERE,)
    directory = os.path.dirname(prometheus.textfile or "")
    if directory and not os.path.isdir(directory):
        text = f"{show_text(directory)} is no directory, so nothing can be written there"
        return (Problem("prometheus.textfile", text, "make it, or name the one of node_exporter"),)
    return ()


def _is_wanted(prometheus: Prometheus) -> bool:
    return bool(prometheus.textfile or prometheus.listen)


class Exporter:
    """Tells Prometheus, as *prometheus* says. Nothing here raises or waits."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._seen: Seen | None = None
        self._events: Counter[tuple[str, str]] = Counter()
        self._evictions: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._troubles: deque[Record] = deque(maxlen=100)
        self._said: dict[str, str] = {}
        self._looked = threading.Event()
        self._ending = threading.Event()
        self._end_server: Callable[[], None] | None = None
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ckptd-prometheus", daemon=True)
        self._thread.start()

    def hear(self, record: Record) -> None:
        """Counts *record*."""
        self._events[record.event, record.outcome] += 1
        if record.outcome == "done":
            self._bytes[record.event] += record.bytes
            if record.event == "evict":
                self._evictions[record.rule] += 1

    def show(self, plan: Plan, world: World) -> None:
        """What the last look saw and led to."""
        if not _is_wanted(self._prometheus) or find_spec("prometheus_client") is None:
            return
        from ckptd.prometheus.measures import Seen

        counts = (dict(self._events), dict(self._evictions), dict(self._bytes))
        self._seen = Seen(time.time(), plan, world, *counts)
        self._looked.set()

    def under(self, prometheus: Prometheus) -> Exporter:
        """The one that goes on counting, as *prometheus* says."""
        if prometheus == self._prometheus:
            return self
        self.close()
        self._thread.join(HANDOVER)  # so that the port is free again
        other = Exporter(prometheus)
        other._events, other._evictions = self._events, self._evictions
        other._bytes = self._bytes
        return other

    def records(self) -> Iterator[Record]:
        """What there is to say of it since this was asked last."""
        while self._troubles:
            yield self._troubles.popleft()

    def close(self) -> None:
        """Ends it; a file that would grow old is taken away, unless that hangs."""
        self._ending.set()
        self._looked.set()
        self._gone.wait(LAST_TRY)

    # --- the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._measure()
        except Exception as error:  # noqa: BLE001  a thread that ends in silence is missed too late
            why = f"{type(error).__name__}: {error}"
            self._say("[prometheus]", f"nothing is measured any more: {why}")
        finally:
            self._gone.set()
        if self._end_server:
            self._end_server()

    def _measure(self) -> None:
        if not _is_wanted(self._prometheus):
            return
        if find_spec("prometheus_client") is None:
            self._say("[prometheus]", f"{NOT_THERE.text}; {NOT_THERE.remedy}")
            return
        from ckptd.prometheus.measures import Measures

        measures = Measures(lambda: self._seen)
        while not self._ending.is_set():
            self._serve(measures)
            self._looked.wait(EVERY)
            if self._seen and not self._ending.is_set():
                self._write(measures)
            self._looked.clear()
            self._ending.wait(EVERY if self._seen else 0)
        if self._prometheus.textfile and self._seen:
            with suppress(OSError):
                os.unlink(self._prometheus.textfile)

    def _serve(self, measures: Measures) -> None:
        if self._prometheus.listen is None or self._end_server:
            return
        host, port = self._prometheus.listen
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._end_server = measures.serve(host, port)
            self._say(name, "")
        except OSError as error:
            self._say(name, f"Prometheus finds nothing there: {error.strerror or error}")

    def _write(self, measures: Measures) -> None:
        path = self._prometheus.textfile
        if path is None:
            return
        try:
            textfile.put(path, measures.text())
            self._say(show_text(path), "")
        except OSError as error:
            self._say(show_text(path), f"the measures cannot be written there: {error.strerror}")

    def _say(self, where: str, trouble: str) -> None:
        """Each trouble once, and that it is over."""
        before = self._said.get(where, "")
        self._said[where] = trouble
        if trouble and trouble != before:
            told = fact("notify", "", f"{where}: {trouble}")
            self._troubles.append(replace(told, outcome="failed"))
        elif before and not trouble:
            self._troubles.append(fact("notify", "", f"{where}: it works again"))
