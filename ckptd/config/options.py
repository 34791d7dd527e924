"""The policy keys as command line options, with the sentences that `--help` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Option:
    """`--name METAVAR`; `key` is where the same value stands in the TOML, dots between tables."""

    name: str
    key: str
    metavar: str
    help: str
    repeatable: bool = False


OPTIONS: Final = (
    Option(
        "keep-last",
        "policy.keep_last",
        "COUNT",
        "keep the newest COUNT complete checkpoints of each run; unlimited (the default) keeps "
        "all of them while there is room, 0 switches the rule off",
    ),
    Option(
        "keep-best",
        "policy.keep_best",
        "COUNT[:METRIC[:MODE]]",
        "keep the COUNT best (default 1) by the metric the trainer ranks by, or by METRIC with "
        "MODE min or max, as in 2:eval_loss:min; 0 switches the rule off",
    ),
    Option(
        "keep-every-steps",
        "policy.keep_every_steps",
        "STEPS",
        "keep the first save at or past each multiple of STEPS, as in 1000",
    ),
    Option(
        "pin",
        "policy.pin",
        "PATTERN",
        "never let go of checkpoints whose name matches PATTERN, as in '*-merged'; repeatable",
        repeatable=True,
    ),
    Option(
        "pressure-keep-last",
        "policy.pressure.keep_last",
        "COUNT",
        "as --keep-last, but even when the disk is too full (default 2 as long as keep-last is "
        "unlimited, else the same)",
    ),
    Option(
        "pressure-keep-best",
        "policy.pressure.keep_best",
        "COUNT[:METRIC[:MODE]]",
        "as --keep-best, but even when the disk is too full (default: the same)",
    ),
    Option(
        "pressure-keep-every-steps",
        "policy.pressure.keep_every_steps",
        "STEPS",
        "as --keep-every-steps, but even when the disk is too full (default: the same)",
    ),
    Option(
        "min-age",
        "policy.min_age",
        "DURATION",
        "let go of nothing younger than this, as in 10min (default 0s)",
    ),
    Option(
        "settle",
        "policy.settle",
        "DURATION",
        "a save whose format writes no end marker is whole once quiet for this long (default 5s)",
    ),
    Option(
        "broken-after",
        "policy.broken_after",
        "DURATION",
        "where other hosts write too, set a broken save aside after this long (default 24h)",
    ),
    Option(
        "trash-for",
        "policy.trash_for",
        "DURATION",
        "what is let go can be restored for this long (default 1h); 0s unlinks at once",
    ),
    Option(
        "finished-after",
        "policy.finished_after",
        "DURATION",
        "a run that is quiet for this long and used by nobody is finished (default 24h)",
    ),
    Option(
        "high",
        "disk.high",
        "MARK",
        "make room when a filesystem is used up to here: 85% (the default), or a size in use",
    ),
    Option("low", "disk.low", "MARK", "make room down to here (default 80%)"),
    Option("hard", "disk.hard", "MARK", "above this the disk is in danger (default 95%)"),
    Option(
        "max-headroom",
        "disk.max_headroom",
        "SIZE",
        "free space that a percentage may ask for at most (default 150GiB)",
    ),
    Option(
        "mode",
        "mode",
        "MODE",
        "enforce (the default), or observe: plan and report, touch nothing",
    ),
)
