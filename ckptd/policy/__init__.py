"""Policy decides: `plan` turns a World into verdicts and actions. Nothing here acts."""

from ckptd.policy.judge import judge_run
from ckptd.policy.outlook import outlook, outlook_of_trash
from ckptd.policy.planner import plan
from ckptd.policy.rules import (
    KeepBest,
    KeepEverySteps,
    KeepLast,
    KeepPeriods,
    KeepWithin,
    Period,
    Rule,
)
from ckptd.policy.settings import Levels, Marks, Policies, Policy

__all__ = [
    "KeepBest",
    "KeepEverySteps",
    "KeepLast",
    "KeepPeriods",
    "KeepWithin",
    "Levels",
    "Marks",
    "Period",
    "Policies",
    "Policy",
    "Rule",
    "judge_run",
    "outlook",
    "outlook_of_trash",
    "plan",
]
