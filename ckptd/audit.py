"""What the journal is told: each record of the ledger as one audit event."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ckptd.ledger import Record
from ckptd.logs import logger
from ckptd.units import show_bytes, show_duration

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
    "recover": "acfef6c5b70942ee812198aa1d6dcc46",
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
}
"""One identity per kind of event, for the journal's catalog. Never changed once released."""

_ERROR, _WARNING, _NOTICE, _INFO = 3, 4, 5, 6
_PRIORITIES: Final = {
    "shortfall": _ERROR,
    "config": _ERROR,
    "refuse": _WARNING,
    "broken": _WARNING,
    "unreadable": _WARNING,
    "ledger": _WARNING,
    "pressure": _NOTICE,
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def tell(record: Record) -> None:
    """Logs *record* as one audit event."""
    fields = event(record)
    log = logger()
    say = {_ERROR: log.error, _WARNING: log.warning}.get(fields["priority"], log.info)
    say(record.event, **{key: value for key, value in fields.items() if key != "event"})


def event(record: Record) -> Mapping[str, Any]:
    """The fields of *record*'s audit event, by the names that they have in JSON lines.

    The journal has the same ones in upper case behind `CKPTD_`, except `message`, `message_id` and
    `priority`, which are its own. A sentence for people is in `message`.
    """
    return {
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


def sentence(record: Record) -> str:
    """*record* for people: `evict checkpoint-50 (step 50, 1.2 GiB): 3rd newest; keep_last is 2`.

    The detail `space_in`, in seconds, says when the space of what is let go comes.
    """
    words = [record.event]
    if record.outcome not in ("done", "intended"):
        words.append(record.outcome)
    name = os.path.basename(record.checkpoint) or record.checkpoint or record.run
    told = " ".join([*words, name]).rstrip() + _measure(record)
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
