"""Who hears of it beside the journal, as the configuration says: people, and Prometheus."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptd.config import Settings
from ckptd.errors import Problem
from ckptd.ledger import Record
from ckptd.model import Plan, World
from ckptd.notice import fact

if TYPE_CHECKING:
    from ckptd.notify import Notifier
    from ckptd.prometheus import Exporter


class Alarms:
    """Neither [notify] nor [prometheus] delays or stops anything; what fails there is a record.

    Nothing begins before `serve`. With *measures*, Prometheus is told as well.
    """

    def __init__(self, settings: Settings, *, measures: bool) -> None:
        self._settings = settings
        self._measures = measures
        self._serves = False
        self._notifier: Notifier | None = None
        self._exporter: Exporter | None = None
        self._sign: object = None
        self._early: deque[Record] = deque(maxlen=200)
        self._records: deque[Record] = deque()

    def serve(self) -> None:
        """From now on they are told, also of what was heard before."""
        self._serves = True
        self._obey(self._settings)
        while self._early:
            self.hear(self._early.popleft())

    def under(self, settings: Settings) -> None:
        """*settings* are in force from now on."""
        if self._serves:
            self._obey(settings)
        self._settings = settings

    def hear(self, record: Record) -> None:
        """Of a record that the journal is told of."""
        if not self._serves:
            self._early.append(record)
        if self._notifier:
            self._notifier.hear(record)
        if self._exporter:
            self._exporter.hear(record)

    def show(self, plan: Plan, world: World) -> None:
        """What the last look saw and led to."""
        if self._exporter:
            self._exporter.show(plan, world)

    def records(self) -> Iterator[Record]:
        """What there is to tell the journal about them since this was asked last."""
        while self._records:
            yield self._records.popleft()
        for source in (self._notifier, self._exporter):
            if source:
                yield from source.records()

    def close(self, patience: float = 0.0) -> None:
        """Ends them; takes little more than half a second at most, or *patience*."""
        if self._exporter:
            self._exporter.close()
        if self._notifier:
            self._notifier.close(patience)

    def _obey(self, settings: Settings) -> None:
        self._notify(settings)
        wanted = settings.prometheus
        if self._exporter:
            self._exporter = self._exporter.under(wanted)
        elif self._measures and (wanted.textfile or wanted.listen):
            from ckptd.prometheus import Exporter

            self._exporter = Exporter(wanted)

    def _notify(self, settings: Settings) -> None:
        notify = settings.notify
        sign = (notify, _sign(notify.urls_file))
        if sign == self._sign:  # the same receivers go on, and remember what they were told
            return
        self._sign = sign
        if self._notifier:
            self._notifier.end()
            self._notifier = None
        if notify.urls or notify.urls_file is not None:
            from ckptd.notify import Notifier, exposed

            self._notifier = Notifier(notify)
            self._records.extend(map(_warning, exposed(settings)))


def _sign(path: str | None) -> tuple[int, ...]:
    """What tells a file from a later state of it."""
    try:
        seen = os.stat(path or "")
    except OSError:
        return ()
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)


def _warning(problem: Problem) -> Record:
    return replace(fact("config", "", str(problem)), outcome="failed")
