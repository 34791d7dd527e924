"""Plans, verdicts and outcomes for people and as JSON. Pure: values in, text out."""

from ckptd.render.document import (
    dumps,
    gone_json,
    paths_json,
    plan_json,
    trash_json,
    verdict_json,
)
from ckptd.render.text import outcome_text, plan_text, trash_text, verdict_text

__all__ = [
    "dumps",
    "gone_json",
    "outcome_text",
    "paths_json",
    "plan_json",
    "plan_text",
    "trash_json",
    "trash_text",
    "verdict_json",
    "verdict_text",
]
