"""Who hears of the daemon while it works: systemd, the journal, `ckptd status`, and others."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ckptd.config import Settings
from ckptd.ledger import Record
from ckptd.model import Action, Plan
from ckptd.observe import Look
from ckptd.render.line import plan_line
from ckptd.units import show_text

if TYPE_CHECKING:
    from ckptd.audit import Audit
    from ckptd.daemon.alarms import Alarms
    from ckptd.daemon.service import Service
    from ckptd.status.board import Board

# A journal that does not keep up is tried again this soon, in seconds.
AGAIN: Final = 1.0


@dataclass(slots=True)
class Outside:
    """Each of them may be absent. `last` is the last act, in words."""

    audit: Audit | None = None
    board: Board | None = None
    service: Service | None = None
    alarms: Alarms | None = None
    last: str = ""

    def serve(self) -> None:
        """From now on systemd, if it started us, hears of us."""
        from ckptd.daemon.service import Service

        self.service = Service(os.environ)
        if self.alarms:
            self.alarms.serve()

    @property
    def interval(self) -> float:
        """The seconds within which `alive` must be called."""
        return self.service.interval or math.inf if self.service else math.inf

    @property
    def due(self) -> float:
        """Seconds until there is something to repeat, however quiet it is."""
        again = AGAIN if self.audit and self.audit.waiting else math.inf
        return min(again, self.board.due if self.board else math.inf)

    def ready(self) -> None:
        """Something was seen; the acts that follow may take long."""
        if self.service and not self.service.is_ready:
            self.service.ready()

    def alive(self) -> None:
        if self.service:
            self.service.alive()

    def reloading(self) -> None:
        """A reload begins; before the first look, what counts is that we are not ready yet."""
        if self.service and self.service.is_ready:
            self.service.reloading()

    def reloaded(self, settings: Settings | None) -> None:
        """The reload is over; *settings* are in force from now on (None: those before)."""
        if self.board and settings:
            self.board.about = self.board.about.under(settings)
        if self.alarms and settings:
            self.alarms.under(settings)
        if self.service and self.service.is_ready:
            self.service.ready()

    def acted(self, action: Action) -> None:
        self.last = f"{action.kind} {show_text(action.path)}"

    def show(self, look: Look, decided: Plan) -> str | None:
        """Shows what was seen and planned; a sentence on what could not be shown."""
        self.ready()
        if self.service:
            self.service.status(plan_line(decided, self.last))
        if self.alarms:
            self.alarms.show(decided, look.world)
        if self.audit:
            self.audit.replay()
        if self.board and not self.board.post(decided, look.world):
            return self.board.trouble
        return None

    def stopping(self) -> None:
        if self.service:
            self.service.stopping()
        if self.board:
            self.board.close()

    def records(self) -> Iterator[Record]:
        """What there is to tell of those who hear of us."""
        if self.alarms:
            yield from self.alarms.records()
