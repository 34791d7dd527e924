"""The nouns: frozen values that every room hands to the next. No clock, no disk, no logger.

Paths and names are `str` as `os.fsdecode` gives them (bytes that are no UTF-8 survive as
surrogates). Sizes are bytes on disk, spans are seconds, moments are aware datetimes in UTC.
"""

from ckptd.model.decision import Action, Outcome, Plan, Reason, Relief, RunPlan, Verdict
from ckptd.model.findings import Findings, Marker, Part, RecordedBest
from ckptd.model.listing import Entry, Identity, Tree
from ckptd.model.words import (
    FIRST_MOMENT,
    LAST_MOMENT,
    TRASH,
    ActionKind,
    Health,
    Kind,
    Role,
    Standing,
    moment,
)
from ckptd.model.world import (
    BestMetric,
    Checkpoint,
    Filesystem,
    Run,
    Series,
    TrashItem,
    Unreadable,
    Use,
    World,
)

__all__ = [
    "FIRST_MOMENT",
    "LAST_MOMENT",
    "TRASH",
    "Action",
    "ActionKind",
    "BestMetric",
    "Checkpoint",
    "Entry",
    "Filesystem",
    "Findings",
    "Health",
    "Identity",
    "Kind",
    "Marker",
    "Outcome",
    "Part",
    "Plan",
    "Reason",
    "RecordedBest",
    "Relief",
    "Role",
    "Run",
    "RunPlan",
    "Series",
    "Standing",
    "TrashItem",
    "Tree",
    "Unreadable",
    "Use",
    "Verdict",
    "World",
    "moment",
]
