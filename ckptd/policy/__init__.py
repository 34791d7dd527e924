"""Policy decides: `plan` turns a World into verdicts and actions. Nothing here acts."""

from ckptd.policy.judge import judge_run
from ckptd.policy.planner import plan
from ckptd.policy.rules import KeepBest, KeepEverySteps, KeepLast, Rule
from ckptd.policy.settings import Marks, Policies, Policy

__all__ = [
    "KeepBest",
    "KeepEverySteps",
    "KeepLast",
    "Marks",
    "Policies",
    "Policy",
    "Rule",
    "judge_run",
    "plan",
]
