"""What holds of every rule by itself, over any moments and in any time zone."""

from datetime import UTC, datetime, timedelta

from builders import ck, run
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import rules
from zones import BAKER, BERLIN, KIRITIMATI, NEW_YORK, zone

from ckptd.model import FIRST_MOMENT
from ckptd.policy import KeepPeriods, KeepWithin

LAWS = settings(derandomize=True, max_examples=300, deadline=None, database=None)
START = datetime(2025, 10, 24, tzinfo=UTC)  # two days before daylight time ends in Europe
GAPS = st.sampled_from([0, 1, 60, 1800, 3600, 86_399, 86_400, 86_400 * 7, 86_400 * 31])
ZONES = st.sampled_from([BERLIN, NEW_YORK, KIRITIMATI, BAKER])


@st.composite
def series(draw):
    """Checkpoints of one run, some at the same moment, some with file times of the year 1."""
    at, found = START, []
    for step, gap in enumerate(draw(st.lists(GAPS, max_size=12))):
        at += timedelta(seconds=gap)
        loss = draw(st.sampled_from([0.1, 0.2, None]))
        found.append(ck(step, loss, saved_at=at))
    lost = draw(st.integers(0, 2)) if draw(st.booleans()) else 0
    return (*(ck(step + 100, saved_at=FIRST_MOMENT) for step in range(lost)), *found)


def kept(rule, checkpoints):
    there = run(*checkpoints)
    reasons = rule.judge(there.checkpoints, there)
    assert set(reasons) == {c.name for c in there.checkpoints}
    assert all(reason.text and reason.rule == rule.name for reason in reasons.values())
    return {name for name, reason in reasons.items() if reason.keeps}


@LAWS
@given(rules, series(), ZONES)
def test_of_what_a_rule_keeps_it_keeps_all(rule, checkpoints, tz):
    with zone(tz):
        first = kept(rule, checkpoints)

        assert kept(rule, [c for c in checkpoints if c.name in first]) == first


@LAWS
@given(rules, series(), ZONES, st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(rule, checkpoints, tz, random):
    with zone(tz):
        mixed = random.sample(checkpoints, len(checkpoints))

        assert kept(rule, mixed) == kept(rule, checkpoints)


calendar_rules = rules.filter(lambda rule: isinstance(rule, KeepPeriods | KeepWithin))


@LAWS
@given(calendar_rules, series(), ZONES, ZONES)
def test_another_time_zone_never_costs_the_newest(rule, checkpoints, before, after):
    """Nor does a machine that moved, or daylight time: what one zone kept holds in the other."""
    newest = {c.name for c in run(*checkpoints).checkpoints[-1:]}
    with zone(before):
        left = [c for c in checkpoints if c.name in kept(rule, checkpoints)]
    with zone(after):
        assert newest <= kept(rule, left)


@LAWS
@given(st.sampled_from(["hourly", "daily", "weekly", "monthly", "yearly"]), series(), ZONES)
def test_no_more_are_kept_than_slots_and_none_is_left_while_more_wait(period, checkpoints, tz):
    with zone(tz):
        most = len(kept(KeepPeriods(period, None), checkpoints))
        for count in range(1, most + 3):
            assert len(kept(KeepPeriods(period, count), checkpoints)) == min(count, most)
