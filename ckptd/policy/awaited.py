"""What must come to pass before a hold ends, by people or by other processes. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Final

from ckptd.model import Checkpoint, Reason, Run, Verdict
from ckptd.units import show_text

# Until one of these has ended nobody can say what the rules would.
BARS: Final = frozenset(
    {"not_adopted", "frozen", "untrusted", "writing", "unproven", "live", "future"}
)


def awaited(verdict: Verdict, run: Run) -> list[str]:
    """What must come to pass before its holds end: half a sentence each.

    Left out are those that further saves of its run end by themselves.
    """
    holds = [reason for reason in verdict.reasons if reason.rule in _AWAITED]
    lasting = [reason for reason in holds if reason.rule != "save_open"] or holds
    said = (_AWAITED[reason.rule](reason, verdict.checkpoint, run) for reason in lasting)
    return list(dict.fromkeys(map(show_text, said)))


def _unpinned(reason: Reason, checkpoint: Checkpoint, run: Run) -> str:
    del run
    if checkpoint.pinned:
        return f"ckptd unpin {shlex.quote(checkpoint.path)} lets go of it"
    return f"{reason.text.removeprefix('pinned by ')} is taken out"


def _let_go(reason: Reason, checkpoint: Checkpoint, run: Run) -> str:
    del run
    users = [use for use in checkpoint.uses if (use.how == "named") is (reason.rule == "named")]
    who = " and ".join(dict.fromkeys(use.who for use in users[:2]))
    more = f" and {len(users) - 2} more" if len(users) > 2 else ""
    return f"{who}{more} {'has' if len(users) == 1 else 'have'} let go of it"


def _ended(reason: Reason, checkpoint: Checkpoint, run: Run) -> str:
    del reason, checkpoint
    who = run.users[0].who if run.users else "the process that works on its run"
    return f"{who} has ended"


def _pointed_elsewhere(reason: Reason, checkpoint: Checkpoint, run: Run) -> str:
    del checkpoint, run
    return f"{reason.text.removesuffix(' points at it')} points elsewhere"


_Say = Callable[[Reason, Checkpoint, Run], str]
_AWAITED: Final[Mapping[str, _Say]] = {
    "not_adopted": lambda _, __, run: f"ckptd adopt {shlex.quote(run.path)} puts it under care",
    "frozen": lambda *_: "the drop-in that cannot be obeyed is mended",
    "untrusted": lambda _, c, __: f'trust = ["{c.format}"] allows acting on its format',
    "pinned": _unpinned,
    "writing": lambda *_: "it is complete",
    "unproven": lambda *_: "it is proven whole or damaged, or a person removes it",
    "live": _ended,
    "future": lambda *_: "its file times are mended",
    "pointer": _pointed_elsewhere,
    "in_use": _let_go,
    "named": _let_go,
    "not_owner": lambda *_: "a ckptd looks that may see its owner's processes",
    "foreign": lambda _, c, __: f"{c.foreign[0]} is moved out of it",
    "save_open": lambda reason, *_: f"{reason.text.partition(' is being')[0]} is complete",
    "trainer_rotates": lambda *_: "the trainer rotates it away itself, or its run ends",
}
