"""The nouns: frozen values that every room hands to the next. No clock, no disk, no logger.

Paths and names are `str` as `os.fsdecode` gives them (bytes that are no UTF-8 survive as
surrogates). Sizes are bytes on disk, spans are seconds, moments are aware datetimes in UTC.
"""

from ckptd.model.decision import (
    Action,
    Obstacle,
    Outcome,
    Outlook,
    Plan,
    Reason,
    Relief,
    RunPlan,
    Verdict,
)
from ckptd.model.findings import Divergence, Findings, Marker, Part, RecordedBest
from ckptd.model.listing import Entry, Identity, Linked, Tree
from ckptd.model.words import (
    DROP_IN,
    EVENTS,
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
    CALM,
    BestMetric,
    Checkpoint,
    Filesystem,
    Run,
    Saved,
    Series,
    TrashItem,
    Unreadable,
    Use,
    World,
)

__all__ = [
    "CALM",
    "DROP_IN",
    "EVENTS",
    "FIRST_MOMENT",
    "LAST_MOMENT",
    "TRASH",
    "Action",
    "ActionKind",
    "BestMetric",
    "Checkpoint",
    "Divergence",
    "Entry",
    "Filesystem",
    "Findings",
    "Health",
    "Identity",
    "Kind",
    "Linked",
    "Marker",
    "Obstacle",
    "Outcome",
    "Outlook",
    "Part",
    "Plan",
    "Reason",
    "RecordedBest",
    "Relief",
    "Role",
    "Run",
    "RunPlan",
    "Saved",
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
