"""Plans, verdicts and outcomes for people and as JSON. Pure: values in, text out."""

from ckptd.render.document import dumps, plan_json, trash_json, verdict_json
from ckptd.render.text import outcome_text, plan_text, trash_text, verdict_text

__all__ = [
    "dumps",
    "outcome_text",
    "plan_json",
    "plan_text",
    "trash_json",
    "trash_text",
    "verdict_json",
    "verdict_text",
]
