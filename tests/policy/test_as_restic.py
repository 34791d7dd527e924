"""What a real restic kept, our rules keep: see record_restic.py for how that was recorded."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from builders import ck, run
from zones import zone

from ckptd.policy import KeepLast, KeepPeriods, KeepWithin
from ckptd.units import parse_span

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "restic-forget.json").read_text())
CASES = [
    pytest.param(series, case, id=f"{series['zone']}-{number}-{json.dumps(case['policy'])}")
    for number, series in enumerate(RECORDED["series"])
    for case in series["cases"]
]


def rule_of(key, value):
    if key == "keep_within":
        return KeepWithin(parse_span(value))
    count = None if value == "unlimited" else value
    return KeepLast(count) if key == "keep_last" else KeepPeriods(key.removeprefix("keep_"), count)


@pytest.mark.parametrize(("series", "case"), CASES)
def test_the_rules_keep_what_restic_keeps(series, case):
    moments = [datetime.fromisoformat(text) for text in series["moments"]]
    there = run(*(ck(step, saved_at=moment) for step, moment in enumerate(moments)))
    rules = [rule_of(key, value) for key, value in case["policy"].items()]

    with zone(series["tz"]):
        judged = [rule.judge(there.checkpoints, there) for rule in rules]

    kept = [c for c in there.checkpoints if any(reasons[c.name].keeps for reasons in judged)]
    # Of several at the same moment restic keeps any, we the one of the highest step.
    assert Counter(c.saved_at for c in kept) == Counter(moments[index] for index in case["kept"])


def test_the_recording_tells_the_rules_apart():
    """As a guard against a recording in which every policy keeps all or nothing."""
    first = RECORDED["series"][0]
    kept = {json.dumps(case["kept"]) for case in first["cases"]}

    assert len(kept) > len(first["cases"]) * 2 / 3
    assert len(first["moments"]) >= 90
