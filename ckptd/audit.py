"""What the journal is told: each record of the ledger as one audit event."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any, Final

from ckptd.ledger import Ledger, Record
from ckptd.logs import in_doubt, logger, plain
from ckptd.logs.gap import Gap
from ckptd.logs.journalctl import Doubts, UnknownError
from ckptd.units import DAY, show_bytes, show_duration

MESSAGE_IDS: Final = {
    "recognised": "c6dbdbce565a4478a42647d1c3e2c644",
    "evict": "7ed62590849441e983e3b466cced56d9",
    "set_aside": "502f060c8d3f4fdc888b9c8aac5ec6d9",
    "slim": "ee2107c091e545649ae0a9b56d22e53a",
    "archive": "a3c46f5639df42efbd67b5e22ee4bc4a",
    "purge": "8b6c7925059746069e10a1838f82a5b1",
    "restore": "f76ada78b6ea4ae9a1e207da21772025",
    "pin": "1430fb60a568443085d8b39b204a4316",
    "unpin": "0c5a4b181d1c4cf880e404755a57cde4",
    "adopt": "f5b8fb2384584c55bcef9cb84efd10f9",
    "finish": "0274faebd54a461a8877a029b399b07b",
    "refuse": "36c38c6be4e24815964c5aebb85d9ab4",
    "broken": "e750212817b944e4b45deaa4229e8269",
    "diverged": "4175b6068a504418a7f21d22ccab2708",
    "pressure": "0bc5c2f831a74a9b950106f9d8ef7b53",
    "relieved": "44133cf5a5c1429b9889ae0b48ad0813",
    "shortfall": "56b7cbe90a5e459fb4e75ab429255770",
    "unreadable": "f72d7179633f4c14b6379ca9ac9303a3",
    "frozen": "4ea8c1d0c7f747e282fe8b2ee344ece0",
    "config": "6c4a07064d9947ba827cd2b61429d63e",
    "watch": "a9d032981dca4543a59dfd4164b665f3",
    "ledger": "2d371a1163d8483c8b690f7aea9a362e",
    "notify": "7534a6f736a64c1eb8b08275db7af841",
}
"""One identity per kind of event; `systemd/*.catalog` explain them. Never changed once released."""

_ERROR, _WARNING, _NOTICE, _INFO = 3, 4, 5, 6
# A warning or worse is what needs a person; so is whatever failed, of any kind.
_PRIORITIES: Final = {
    "shortfall": _ERROR,
    "diverged": _ERROR,
    "broken": _WARNING,
    "unreadable": _WARNING,
    "frozen": _WARNING,
    "config": _NOTICE,
    "ledger": _NOTICE,
    "notify": _NOTICE,
    "pressure": _NOTICE,
    "refuse": _NOTICE,
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# Another process may be about to tell what it has just recorded; after this time it is not.
GRACE: Final = 10.0
# What waited longer is left to `ckptd history`: nobody looks for it in the journal of today.
OLDEST: Final = 7 * DAY
# How much is told of what waits: when something new comes, and in one call of `replay`.
FEW: Final = 16
MANY: Final = 500
# How long the end waits for a journal that does not keep up.
LAST_TRY: Final = 0.2
# What the journal was told within so many seconds may go with the power (journald.conf(5):
# SyncIntervalSec is five minutes), and how many of these records it is asked for.
UNSYNCED: Final = 600.0
MOST_ASKED: Final = 1000
# The moment of a boot is known to the second, by a clock that may be set right a little later.
ABOUT: Final = 60.0


class Audit:
    """Tells each record once, in the ledger's order; what is not taken waits in the ledger.

    What the journal took and lacks all the same, as its socket was closed or, before the boot at
    the moment *booted*, the power failed, is told again behind
    what was told since. With `others`, also what other processes recorded and told nobody but a
    person, or could not tell before they died. Without `talk` it tells nothing: a command that
    prints what it did leaves its records to them. Several threads may use one.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        talk: bool = True,
        others: bool = False,
        booted: float | None = None,
    ) -> None:
        self._ledger = ledger
        self._talk = talk
        self._others = others
        self._alone = threading.RLock()
        self._held: dict[str, None] = {}  # what this process recorded and could not tell yet
        self._unmarked: set[str] = set()  # what was told and could not be marked as told yet
        self._doubts = Doubts()
        self._of_before = Doubts()  # the boot; whoever starts next doubts them anew
        self._refused: float | None = None  # since when, by the monotonic clock
        self._gap = Gap()
        if talk and others:
            ledger.let_be(time.time() - OLDEST)
        if talk and booted is not None:
            before = booted + ABOUT  # of what was told after it nothing is found to lack
            self._of_before.add(ledger.told_last(before, UNSYNCED, MOST_ASKED))

    @property
    def waiting(self) -> int:
        """How many records of this process were not taken yet, or may be lost after that."""
        asked = len(self._of_before) if self._of_before.has_witness else 0
        return len(self._held) + len(self._doubts) + asked

    def tell(self, record: Record) -> None:
        """Tells *record*, which is in the ledger where that had room, or leaves it to `replay`."""
        if not self._talk:
            return
        with self._alone:
            if not self._held and self._say(record):
                self._mark([record.id])
            elif self._ledger.record(record.id) is not None:
                self._hold(record)
            else:  # the ledger had no room for it, so now or never
                _ = self._say(record) or _say(record, aside=True)

    def replay(self, most: int = MANY) -> int:
        """Tells what waits, at most so many records, until one is not taken; how many it told."""
        if not self._talk or not (self.waiting or self._others):
            return 0
        told = 0
        with self._alone:
            self._look_for_lost()
            while told < most and (some := self._tell_some(min(FEW, most - told))):
                told += some
            if not self._held:
                self._is_back()
        return told

    def close(self) -> None:
        """A last try. What waits still is told by the ckptd that starts next."""
        until = time.monotonic() + LAST_TRY
        while self.waiting and time.monotonic() < until:
            if not self.replay():
                time.sleep(LAST_TRY / 20)
        if self._doubts:
            self._leave_in_doubt("ckptd ended first")
            if not self._held:
                self._is_back()

    def _hold(self, record: Record) -> None:
        behind = bool(self._held)
        self._held[record.id] = None
        if behind:
            self.replay(FEW)
        elif self._refused is None:
            self._refused = time.monotonic()

    def _tell_some(self, most: int) -> int:
        with self._ledger.telling() as alone:
            if not alone:  # another ckptd is at it
                return 0
            first = tuple(islice(self._held, most))
            due = self._due(first, most)
            told = [record.id for record in takewhile(self._say, due)]
            if len(due) < most and not self._unmarked:  # what is not there, somebody else has told
                self._let_go(set(first).difference(record.id for record in due))
            self._let_go(told)
            self._mark(told)
            return len(told)

    def _let_go(self, idents: Collection[str]) -> None:
        self._gap.late += len((self._held.keys() & idents) - self._gap.lost)
        for ident in idents:
            self._held.pop(ident, None)

    def _due(self, mine: tuple[str, ...], most: int) -> list[Record]:
        """What waits and is ours to tell now."""
        now = time.time()
        before = now - GRACE if self._others else float("-inf")
        found = self._ledger.untold(now - OLDEST, before, mine, most)
        return [record for record in found if record.id not in self._unmarked]

    def _mark(self, told: list[str]) -> None:
        if not self._ledger.mark_told([*told, *self._unmarked]):
            self._unmarked.update(told)
        else:
            self._unmarked.clear()

    def _say(self, record: Record) -> bool:
        taken = _say(record)
        self._doubts.add(in_doubt())
        if taken:
            self._doubts.told(record.id)
            self._of_before.told(record.id)
        return taken

    def _look_for_lost(self) -> None:
        """What the journal took and lacks waits from now on to be told again."""
        try:
            self._tell_again(self._doubts)
        except UnknownError as error:
            self._leave_in_doubt(str(error))
        try:
            self._tell_again(self._of_before)
        except UnknownError:
            self._of_before.clear()

    def _tell_again(self, doubts: Doubts) -> None:
        """Raises UnknownError."""
        lost = doubts.lacking()
        if lost is None or (lost and not self._ledger.mark_untold(lost)):
            return
        doubts.clear()
        self._unmarked.difference_update(lost)
        self._held = dict.fromkeys(filter(self._ledger.record, lost)) | self._held
        self._gap.lost.update(self._held.keys() & lost)

    def _leave_in_doubt(self, why: str) -> None:
        self._gap.unknown += len(self._doubts)
        self._gap.why = why
        self._doubts.clear()

    def _is_back(self) -> None:
        if self._refused is not None:
            self._gap.seconds += time.monotonic() - self._refused
            self._refused = None
        if self._doubts:
            return
        gap, self._gap = self._gap, Gap()
        if text := gap.text():
            outcome = "failed" if gap.unknown else "done"
            record = Record(
                event="ledger", at=time.time(), rule="ledger", reason=text, outcome=outcome
            )
            self._ledger.note(record)
            self.tell(record)


def _say(record: Record, *, aside: bool = False) -> bool:
    """Whether *record* was taken; `aside`: by the stream beside the journal."""
    fields = dict(event(record))
    log = logger(aside=aside)
    say = {_ERROR: log.error, _WARNING: log.warning}.get(fields["priority"], log.info)
    return bool(say(fields.pop("event"), **fields))


def event(record: Record) -> Mapping[str, Any]:
    """The fields of *record*'s audit event, by the names that they have in JSON lines.

    The journal has the same ones in upper case behind `CKPTD_`, except `message`, `message_id` and
    `priority`, which are its own; so has `ckptd history`. A sentence for people is in `message`.
    Every text is safe to show.
    """
    fields = {
        "at": _moment(record.at),
        "event": record.event,
        "checkpoint": record.checkpoint or None,
        "run": record.run or None,
        "step": record.step,
        "bytes": record.bytes,
        "rule": record.rule or None,
        "reason": record.reason or None,
        "id": record.id,
        "outcome": record.outcome,
        "error": record.error,
        "message_id": MESSAGE_IDS.get(record.event),
        "priority": _priority(record),
        "message": sentence(record),
    }
    return {key: plain(value) for key, value in fields.items()}


def sentence(record: Record) -> str:
    """*record* for people: `evict /a/checkpoint-50 (step 50, 1.2 GiB): keep_last is 2`.

    The detail `space_in`, in seconds, says when the space of what is let go comes.
    """
    words = [record.event]
    if record.outcome not in ("done", "intended") and record.event != "refuse":
        words.append(record.outcome)
    place = record.checkpoint or record.run
    told = " ".join([*words, place]).rstrip() + _measure(record)
    reasons = [record.reason, record.error or "", _space(record)]
    because = "; ".join(reason for reason in reasons if reason)
    return f"{told}: {because}" if because else told


def _measure(record: Record) -> str:
    step = [] if record.step is None else [f"step {record.step}"]
    size = [show_bytes(record.bytes)] if record.bytes else []
    return f" ({', '.join(step + size)})" if step or size else ""


def _space(record: Record) -> str:
    seconds = record.details.get("space_in")
    if seconds is None or record.outcome != "done":
        return ""
    return f"its space comes in {show_duration(seconds)}" if seconds else "its space is free"


def _priority(record: Record) -> int:
    usual = _PRIORITIES.get(record.event, _INFO)
    return min(usual, _WARNING) if record.outcome == "failed" else usual


def _moment(seconds: float) -> str:
    try:
        at = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:  # a clock that is set to nowhere still gets its event told
        at = _EPOCH
    return at.isoformat().replace("+00:00", "Z")


FIELDS: Final = tuple(event(Record(event="", at=0.0)))
"""The names of an event's fields, in the order in which they are written."""
