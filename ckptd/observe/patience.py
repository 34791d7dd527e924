"""How long one look of root stays with the runs of one user: others have runs as well."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

# Seconds. What was read is remembered, so that a look which ends here goes on at the next.
MOST: Final = 20.0
MOST_DROP_INS: Final = 1000  # of each user, that are read although no run lies below them yet
SPENT: Final = (
    f"the runs of this user took more than {MOST:.0f} s of this look, so it is left for the next"
)


@dataclass(slots=True)
class Patience:
    """What is spent on each user in one look, and the drop-ins that were read of theirs."""

    most: float = MOST
    drop_ins: dict[int, int] = field(default_factory=dict)
    _spent: dict[int, float] = field(default_factory=dict)
    _now: tuple[int, float] | None = None

    @contextmanager
    def with_(self, uid: int) -> Iterator[None]:
        """What is done meanwhile is done for *uid*."""
        begun = time.monotonic()
        self._now = (uid, begun)
        try:
            yield
        finally:
            self._spent[uid] = self._spent.get(uid, 0.0) + time.monotonic() - begun
            self._now = None

    def is_over(self, uid: int) -> bool:
        """Whether root must go on to others. A user's own ckptd keeps nobody waiting."""
        running = time.monotonic() - self._now[1] if self._now and self._now[0] == uid else 0.0
        return os.geteuid() == 0 and self._spent.get(uid, 0.0) + running > self.most

    def reads_another(self, uid: int) -> bool:
        """Whether one more drop-in of *uid* is read before a run needs it."""
        self.drop_ins[uid] = self.drop_ins.get(uid, 0) + 1
        return self.drop_ins[uid] <= MOST_DROP_INS
