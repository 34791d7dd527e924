"""Whether a Trainer's log ends in numbers that are not finite, and since which step. Pure.

What the log says is less than what happened (transformers 5.24, trainer.py):

- `grad_norm` is that of the logged step. With fp16 its scaler lets one overflow now and then and
  skips that step, so that one infinite or nan value is normal; the first steps may all be such.
- `loss` has its non-finite values replaced by default (`logging_nan_inf_filter`): it may read 0.0
  in a training that is lost. So a finite one proves nothing, but for `loss` itself.
- `eval_loss` leaves out batches that are not finite, unless none is: what is not finite here comes
  from weights that are lost, or from labels that are all masked since the first evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.formats.reading import number
from ckptd.model import Divergence

# Logged lines in a row that prove it. Where all steps are logged, one overflow halves the scale of
# fp16 and a rare second one halves it again; where every tenth is, two in a row are rarer still.
PROOF: Final = 3
# Evaluations are rare, and made with weights that were not updated meanwhile: two prove it, or one
# and a line of the training. A single one may have overflowed by itself.
_WORTH: Final = {"grad_norm": 1, "loss": 1, "eval_loss": 2}
_WITNESSES: Final = frozenset({"grad_norm", "eval_loss"})
_LONGEST_TEXT: Final = 32


@dataclass(frozen=True, slots=True)
class _Seen:
    """One logged number. `at` orders them: an evaluation sees the weights after its step."""

    at: int
    key: str
    value: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.value)


def at_the_end(history: object, step: int) -> Divergence | None:
    """How a `log_history` ends that was written at *step*; None where it ends well.

    A number that never was finite has not become otherwise: it says nothing. Null says nothing
    either: some log it where they have no number.
    """
    lines = history if isinstance(history, list) else []
    if _ends_well(lines, step):
        return None
    seen = list(_numbers(lines, step))
    finite = _last_finite(seen)
    cleared = max((at for key, at in finite.items() if key in _WITNESSES), default=-1)
    lost = [
        one
        for one in seen
        if not one.finite and one.key in finite and one.at > max(cleared, finite[one.key])
    ]
    if not lost:
        return None
    first = min(lost, key=lambda one: (one.at, one.key))
    worth = {one.at: _WORTH[one.key] for one in lost}
    return Divergence(
        what=first.key,
        value=str(first.value),
        since=first.at // 2,
        finite_at=max(cleared, finite[first.key]) // 2,
        proven=sum(worth.values()) >= PROOF,
    )


def _ends_well(lines: Sequence[object], step: int) -> bool:
    """Whether a finite witness comes last: it clears all before it, however long the log is."""
    for line in reversed(lines):
        numbers = list(_numbers([line], step))
        if not all(one.finite for one in numbers):
            return False
        if any(one.key in _WITNESSES for one in numbers):
            return True
    return True


def _last_finite(seen: list[_Seen]) -> Mapping[str, int]:
    """By key, when its last finite number was seen."""
    last: dict[str, int] = {}
    for one in seen:
        if one.finite:
            last[one.key] = max(one.at, last.get(one.key, -1))
    return last


def _numbers(lines: Sequence[object], step: int) -> Iterator[_Seen]:
    for line in lines:
        if not isinstance(line, dict):
            continue
        at = line.get("step")
        if type(at) is int and 0 <= at <= step:
            for key in _WORTH:
                if (value := _number(line.get(key))) is not None:
                    yield _Seen(2 * at + (key == "eval_loss"), key, value)


def _number(value: object) -> float | None:
    """A number, also where it is written as a text: `"NaN"` is JSON, a bare NaN is none."""
    if not isinstance(value, str):
        return number(value)
    try:
        return float(value) if len(value) <= _LONGEST_TEXT else None
    except ValueError:
        return None
