"""Plans, verdicts, outcomes and reports for people and as JSON. Pure: values in, text out."""

from ckptd.render.blocks import Block, lay_out
from ckptd.render.document import (
    VERSION,
    Document,
    dumps,
    event_json,
    gone_json,
    moment_text,
    outlook_json,
    paths_json,
    plain,
    plan_json,
    report_json,
    trash_json,
    verdict_json,
)
from ckptd.render.overview import overview
from ckptd.render.plan import plan_blocks, plan_text
from ckptd.render.report import Report, report_of
from ckptd.render.text import (
    outcome_text,
    teller_text,
    told_outlook,
    told_text,
    trash_text,
    verdict_text,
)
from ckptd.render.wording import not_adopted_text

__all__ = [
    "VERSION",
    "Block",
    "Document",
    "Report",
    "dumps",
    "event_json",
    "gone_json",
    "lay_out",
    "moment_text",
    "not_adopted_text",
    "outcome_text",
    "outlook_json",
    "overview",
    "paths_json",
    "plain",
    "plan_blocks",
    "plan_json",
    "plan_text",
    "report_json",
    "report_of",
    "teller_text",
    "told_outlook",
    "told_text",
    "trash_json",
    "trash_text",
    "verdict_json",
    "verdict_text",
]
