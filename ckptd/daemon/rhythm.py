"""When to look again by the clock, however silent the bell. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ckptd.model import Health, Plan, Relief
from ckptd.observe import Look
from ckptd.observe.experiments import QUIET

# Whatever the bell says, everything is looked at this often, in seconds.
TIMER: Final = 60.0
# Where events do not arrive (network filesystems), looks take their place.
POLL: Final = 5.0
# A disk under demand that can be met, and a watch that another ckptd acts on, are looked at again
# this soon.
SOON: Final = 1.0


def until_next(look: Look, decided: Plan) -> float:
    """Seconds until something changes by itself."""
    return min([TIMER, *_calms(decided), *_settling(look), *_expiring(look, decided)])


def _calms(decided: Plan) -> Iterator[float]:
    yield from (action.wait for action in decided.actions if action.wait > 0)
    yield from (SOON for action in decided.actions if action.urgent)
    # What holds the rest may let go of it, without a sound, and there is no time to lose.
    yield from (POLL for need in decided.filesystems if _is_in_danger(need))


def _is_in_danger(need: Relief) -> bool:
    return need.state == "hard" or need.coming > need.filesystem.free


def _settling(look: Look) -> Iterator[float]:
    for run in look.world.runs:
        if any(c.health is Health.WRITING for c in run.checkpoints):
            yield max(look.policies.of(run.path).settle, SOON)
    if look.polled:
        yield POLL
    if look.settling:
        yield QUIET


def _expiring(look: Look, decided: Plan) -> Iterator[float]:
    for item in look.world.trash:
        # A sidecar may say any moment: added to the last one, a span would be beyond all calendars.
        spent = (decided.made_at - item.trashed_at).total_seconds()
        left = look.policies.of(item.run).trash_for - spent
        if left > 0:  # else it is purged now, or stays for a reason that time does not mend
            yield max(left, SOON)
