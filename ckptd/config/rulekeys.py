"""The keys of the rules, at each level: `[policy]`, `[policy.pressure]`, `[policy.finished]`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from ckptd.config import kinds
from ckptd.config.entries import Key, dashed

_ALL_PERIODS: Final = (
    "The newest of each hour, day, week, month, year, for so many of them that have any, in local "
    'time; and the oldest while slots are left. A count, or "unlimited".'
)


def _period(adverb: str, noun: str, example: int) -> Key:
    return Key(
        f"keep_{adverb}",
        kinds.COUNT,
        0,
        _ALL_PERIODS if adverb == "hourly" else "",
        example=example,
        metavar="COUNT",
        help=f"keep the newest of each {noun}, for the newest COUNT {noun}s that have any",
    )


POLICY: Final = (
    Key(
        "keep_last",
        kinds.COUNT,
        "unlimited",
        'The newest so many complete checkpoints of each run. A count, or "unlimited": then the '
        "other rules matter only when the disk is too full.",
        metavar="COUNT",
        help="keep the newest COUNT complete checkpoints of each run; unlimited (the default) "
        "keeps all of them while there is room, 0 switches the rule off",
    ),
    Key(
        "keep_best",
        kinds.BEST,
        1,
        "The best so many, by the metric that the trainer itself ranks by (else the lowest "
        "eval_loss).\nTo name the metric: "
        'keep_best = { count = 2, metric = "eval_loss", mode = "min" }',
        metavar="COUNT[:METRIC[:MODE]]",
        help="keep the COUNT best (default 1) by the metric the trainer ranks by, or by "
        "METRIC with MODE min or max, as in 2:eval_loss:min; 0 switches the rule off",
    ),
    Key(
        "keep_every_steps",
        kinds.STEPS,
        0,
        "The first save at or past each multiple of so many steps: 1000 keeps 1000, 2000, 3000 ...",
        example=1000,
        metavar="STEPS",
        help="keep the first save at or past each multiple of STEPS, as in 1000",
    ),
    Key(
        "keep_within",
        kinds.SPAN,
        "0s",
        "All of the last hours, days, months before the newest one, as in 6h, 7d or 1month14d. It "
        "counts back from the newest and not from the clock: a run that stopped keeps what it has.",
        example="6h",
        metavar="SPAN",
        help="keep all that were saved less than SPAN before the newest, as in 6h or 1month14d",
    ),
    _period("hourly", "hour", 24),
    _period("daily", "day", 7),
    _period("weekly", "week", 4),
    _period("monthly", "month", 6),
    _period("yearly", "year", 2),
)
"""In the order in which verdicts give their reasons."""

_FIRM: Final = {
    "keep_every_steps": 1000,
    "keep_within": "1h",
    "keep_hourly": 6,
    "keep_daily": 3,
    "keep_weekly": 2,
    "keep_monthly": 2,
    "keep_yearly": 1,
}
_FIRM_DEFAULTS: Final = {"keep_last": "2 as long as keep-last is unlimited, else the same"}


def _pressure(key: Key) -> Key:
    default = _FIRM_DEFAULTS.get(key.name, "the same")
    return replace(
        key,
        default=2 if key.name == "keep_last" else key.default,
        about="Default: the same as in [policy]." if key.name == "keep_best" else "",
        example=_FIRM.get(key.name),
        help=f"as --{dashed(key.name)}, but even when the disk is too full (default: {default})",
    )


def _finished(key: Key) -> Key:
    off: Any = "0s" if key.kind is kinds.SPAN else 0
    return replace(
        key,
        default=None,
        about="Default: the same as in [policy]." if key.name == "keep_last" else "",
        example=1 if key.name in ("keep_last", "keep_best") else off,
        help=f"as --{dashed(key.name)}, but once a run is finished (default: the same)",
    )


PRESSURE: Final = tuple(_pressure(key) for key in POLICY)
FINISHED: Final = tuple(_finished(key) for key in POLICY)
