"""Rules keep, and say why. Each counts on its own; the planner takes their union.

A rule sees only complete checkpoints of one run, oldest first, none of them from the future, and
answers for every one of them: kept or not, with a reason. What they keep is what restic keeps by
rules of these names.
"""

from ckptd.policy.rules.base import Reasons, Rule
from ckptd.policy.rules.best import KeepBest
from ckptd.policy.rules.last import KeepLast
from ckptd.policy.rules.periods import KeepPeriods, Period
from ckptd.policy.rules.steps import KeepEverySteps
from ckptd.policy.rules.within import KeepWithin

__all__ = [
    "KeepBest",
    "KeepEverySteps",
    "KeepLast",
    "KeepPeriods",
    "KeepWithin",
    "Period",
    "Reasons",
    "Rule",
]
