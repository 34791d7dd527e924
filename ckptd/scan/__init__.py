"""Listings: what lies where, as lstat says it. Nothing is opened but directories and peeked files.

What cannot be seen is an UnreadableError or an Unreadable, never an empty listing. Whatever
disappears while we look is left out: a trainer may rotate at any time.
"""

from ckptd.scan.listing import DEEPEST, children, identity, peek, tree
from ckptd.scan.survey import FoundRun, Limits, Survey, find_run, find_runs, is_claim
from ckptd.scan.weighing import weigh

__all__ = [
    "DEEPEST",
    "FoundRun",
    "Limits",
    "Survey",
    "children",
    "find_run",
    "find_runs",
    "identity",
    "is_claim",
    "peek",
    "tree",
    "weigh",
]
