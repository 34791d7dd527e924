"""Each rule alone: which checkpoints it keeps, and what it says about every one of them."""

import math
from datetime import UTC, datetime

import pytest
from builders import ck, run, series
from zones import BAKER, BERLIN, KIRITIMATI, NEW_YORK, zone

from ckptd.model import FIRST_MOMENT, BestMetric
from ckptd.policy import KeepBest, KeepEverySteps, KeepLast, KeepPeriods, KeepWithin
from ckptd.units import Span, parse_span


def steps_kept(rule, checkpoints, **fields):
    there = run(*checkpoints, **fields)
    reasons = rule.judge(there.checkpoints, there)
    return {c.step for c in there.checkpoints if reasons[c.name].keeps}


def texts(rule, checkpoints, **fields):
    there = run(*checkpoints, **fields)
    reasons = rule.judge(there.checkpoints, there)
    return [reasons[c.name].text for c in there.checkpoints]


# --- keep_last: restic's `last` (its golden policies 1 to 4: 0 is "no such rule" there) --------


@pytest.mark.parametrize(
    ("count", "steps", "kept"),
    [
        pytest.param(2, [1, 2, 3], {2, 3}, id="newest-two"),
        pytest.param(10, range(1, 101), set(range(91, 101)), id="ten-of-a-hundred"),
        pytest.param(99, range(1, 101), set(range(2, 101)), id="all-but-the-oldest"),
        pytest.param(3, [1, 2, 3], {1, 2, 3}, id="exactly-as-many"),
        pytest.param(200, [1, 2], {1, 2}, id="fewer-than-asked"),
        pytest.param(None, [1, 2, 3], {1, 2, 3}, id="unlimited"),
        pytest.param(1, [], set(), id="nothing-there"),
        pytest.param(2, [900, 1000, 100, 200], {100, 200}, id="by-time-not-by-step"),
    ],
)
def test_keep_last_keeps_the_newest(count, steps, kept):
    assert steps_kept(KeepLast(count), series(*steps)) == kept


def test_keep_last_counts_each_of_several_saved_at_once_by_step():
    at_once = [ck(step, age="1h") for step in (1, 2, 10)]

    assert steps_kept(KeepLast(2), at_once) == {2, 10}


def test_keep_last_says_the_place_and_the_limit():
    assert texts(KeepLast(2), series(1, 2, 3)) == [
        "3rd newest; keep_last is 2",
        "2nd newest; keep_last is 2",
        "newest; keep_last is 2",
    ]


@pytest.mark.parametrize(
    "place",
    ["2nd", "3rd", "4th", "10th", "11th", "12th", "13th", "20th", "21st", "22nd", "101st", "111th"],
)
def test_places_read_as_english(place):
    rank = int(place[:-2])

    oldest = texts(KeepLast(1), series(*range(1, rank + 1)))[0]

    assert oldest == f"{place} newest; keep_last is 1"


# --- keep_best ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "losses", "kept"),
    [
        pytest.param(KeepBest(1), [0.9, 0.4, 0.7], {2}, id="lowest-loss"),
        pytest.param(KeepBest(2), [0.9, 0.4, 0.7], {2, 3}, id="two-best"),
        pytest.param(KeepBest(1), [None, None], set(), id="no-metric-no-best"),
        pytest.param(KeepBest(1), [None, 0.9], {2}, id="unmeasured-ranks-nowhere"),
        pytest.param(KeepBest(1), [0.5, 0.5], {1}, id="of-equals-the-earlier"),
        pytest.param(KeepBest(1), [math.nan, 0.9, -math.inf], {2}, id="non-finite-is-no-value"),
        pytest.param(KeepBest(1, mode="max"), [0.1, 0.9], {2}, id="mode-without-metric"),
        pytest.param(KeepBest(1, "eval_loss"), [0.9, 0.4], {2}, id="a-loss-named"),
        pytest.param(KeepBest(1, "eval_loss", "max"), [0.9, 0.4], {1}, id="named-max"),
        pytest.param(KeepBest(1, "eval_los"), [0.9, 0.4], {1, 2}, id="misspelt-keeps-all"),
        pytest.param(KeepBest(1, "eval_loss"), [math.nan, None], {1, 2}, id="all-nan-keeps-all"),
    ],
)
def test_keep_best_keeps_the_best(rule, losses, kept):
    checkpoints = [ck(step, loss, age=100 - step) for step, loss in enumerate(losses, start=1)]

    assert steps_kept(rule, checkpoints) == kept


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        pytest.param(KeepBest(1), {2}, id="unnamed-ranks-as-the-trainer"),
        pytest.param(KeepBest(1, "eval_f1"), {2}, id="named-alike-takes-its-mode"),
        pytest.param(KeepBest(1, "eval_f1", "min"), {1}, id="own-mode-wins"),
        pytest.param(KeepBest(1, "eval_loss"), {1}, id="own-metric-wins"),
    ],
)
def test_keep_best_and_the_trainers_own_metric(rule, kept):
    checkpoints = [
        ck(1, age=20, metrics={"eval_f1": 0.1, "eval_loss": 0.1}),
        ck(2, age=10, metrics={"eval_f1": 0.8, "eval_loss": 0.2}),
    ]

    assert steps_kept(rule, checkpoints, best_metric=BestMetric("eval_f1", "max")) == kept


@pytest.mark.parametrize(
    ("metric", "kept"),
    [("eval_accuracy", {2}), ("eval_rougeL", {2}), ("eval_loss", {1}), ("eval_wer", {1})],
)
def test_keep_best_guesses_which_end_of_a_metric_is_best(metric, kept):
    checkpoints = [ck(1, age=20, metrics={metric: 0.1}), ck(2, age=10, metrics={metric: 0.8})]
    assert steps_kept(KeepBest(1, metric), checkpoints) == kept


def test_keep_best_says_value_direction_and_limit():
    assert texts(KeepBest(1), [ck(1, 0.25, age=9), ck(2, 0.5, age=8), ck(3, age=7)]) == [
        "best by eval_loss (0.25, lower is better); keep_best is 1",
        "2nd best by eval_loss (0.5, lower is better); keep_best is 1",
        "no eval_loss recorded at its step; keep_best ranks by it",
    ]


def test_keep_best_says_that_a_misspelt_metric_cannot_choose():
    assert texts(KeepBest(1, "eval_los"), [ck(1, 0.25)]) == [
        "no checkpoint of this run records eval_los, so keep_best keeps them all"
    ]


# --- keep_every_steps --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        pytest.param([500, 1000, 1500, 2000], {1000, 2000}, id="at-the-multiple"),
        pytest.param([600, 1200, 1800, 2400, 3000], {1200, 2400, 3000}, id="first-past-it"),
        pytest.param([999], set(), id="before-the-first-multiple"),
        pytest.param([3700], {3700}, id="several-multiples-skipped"),
        pytest.param([2100, 2200, 1100, 1200], {1100, 2100}, id="by-step-not-by-time"),
        pytest.param([0], set(), id="step-zero-is-no-milestone"),
        pytest.param([10**30, 10**30 + 1], {10**30}, id="thirty-digits"),
    ],
)
def test_keep_every_steps_keeps_the_first_past_each_multiple(steps, kept):
    assert steps_kept(KeepEverySteps(1000), series(*steps)) == kept


def test_keep_every_steps_keeps_one_of_two_with_the_same_step():
    twice = [ck(1000, name="checkpoint-1000", age=20), ck(1000, name="epoch-1", age=10)]
    there = run(*twice)

    reasons = KeepEverySteps(1000).judge(there.checkpoints, there)

    assert [reasons[name].keeps for name in ("checkpoint-1000", "epoch-1")] == [True, False]


def test_keep_every_steps_says_which_multiple():
    assert texts(KeepEverySteps(1000), [ck(999, age=9), ck(2100, age=8), ck(2200, age=7)]) == [
        "before the first multiple; keep_every_steps is 1000",
        "first save at or past step 2000; keep_every_steps is 1000",
        "another save was the first at or past step 2000; keep_every_steps is 1000",
    ]


def test_keep_every_steps_keeps_what_has_no_step():
    assert steps_kept(KeepEverySteps(1000), [ck(None, name="best")]) == {None}


# --- keep_hourly ... keep_yearly ---------------------------------------------------------


def at(*texts, tz="UTC0"):
    """Checkpoints 1, 2, 3 ... saved when the clock on the wall of *tz* showed these times."""
    with zone(tz):
        moments = [datetime.fromisoformat(text).astimezone(UTC) for text in texts]
    return [ck(step, saved_at=moment) for step, moment in enumerate(moments, start=1)]


@pytest.mark.parametrize(
    ("rule", "times", "kept"),
    [
        pytest.param(
            KeepPeriods("hourly", 2),
            ["2026-01-02 01:00", "2026-01-02 02:10", "2026-01-02 02:59:59", "2026-01-02 03:00"],
            {3, 4},
            id="newest-of-each-hour",
        ),
        pytest.param(
            KeepPeriods("daily", 3),
            ["2026-01-01 09:00", "2026-01-02 08:00", "2026-01-02 09:00", "2026-01-09 00:00"],
            {1, 3, 4},
            id="days-without-any-take-no-slot",
        ),
        pytest.param(
            KeepPeriods("weekly", 2),
            ["2024-12-29 12:00", "2024-12-30 12:00", "2025-01-05 12:00", "2025-01-06 12:00"],
            {3, 4},
            id="iso-week-1-begins-in-december",
        ),
        pytest.param(
            KeepPeriods("weekly", 2),
            ["2020-12-31 12:00", "2021-01-03 12:00", "2021-12-31 12:00"],
            {2, 3},
            id="week-53-and-week-52-of-the-same-year",
        ),
        pytest.param(
            KeepPeriods("weekly", 1),
            ["2025-01-01 12:00", "2026-01-01 12:00"],
            {2},
            id="the-same-week-of-another-year",
        ),
        pytest.param(
            KeepPeriods("monthly", None),
            ["2025-12-01 12:00", "2025-12-31 12:00", "2026-01-01 12:00"],
            {1, 2, 3},
            id="unlimited-keeps-the-oldest-too",
        ),
        pytest.param(
            KeepPeriods("yearly", 3),
            ["2026-01-01", "2026-01-02", "2026-01-03"],
            {1, 3},
            id="the-oldest-while-slots-are-left",
        ),
        pytest.param(
            KeepPeriods("yearly", 1),
            ["2026-01-01", "2026-01-02", "2026-01-03"],
            {3},
            id="not-the-oldest-when-all-slots-are-taken",
        ),
        pytest.param(KeepPeriods("daily", 3), ["2026-01-01"], {1}, id="one-takes-one-slot"),
        pytest.param(KeepPeriods("daily", 3), [], set(), id="nothing-there"),
    ],
)
def test_keep_periods_keeps_the_newest_of_each(rule, times, kept):
    with zone("UTC0"):
        assert steps_kept(rule, at(*times)) == kept


def test_periods_are_those_of_local_time():
    around_midnight = at("2026-01-01 22:30", "2026-01-01 23:30", "2026-01-02 00:30")

    with zone(BERLIN):
        assert steps_kept(KeepPeriods("daily", 2), around_midnight) == {1, 3}
    with zone(NEW_YORK):
        assert steps_kept(KeepPeriods("daily", 2), around_midnight) == {1, 3}
        assert steps_kept(KeepPeriods("daily", 1), around_midnight) == {3}


def test_the_hour_that_comes_twice_is_one():
    with zone(BERLIN):
        twice = at("2025-10-26 01:59+02:00", "2025-10-26 02:30+02:00", "2025-10-26 02:10+01:00")
        assert steps_kept(KeepPeriods("hourly", 2), twice) == {1, 3}


def test_of_several_saved_at_once_the_highest_step_is_the_newest():
    at_once = [ck(step, age="1h") for step in (1, 2, 10)]

    assert steps_kept(KeepPeriods("daily", 1), at_once) == {10}


def test_keep_periods_says_number_period_and_limit():
    rule = KeepPeriods("daily", 2)
    days = at("2026-01-01 09:00", "2026-01-02 08:00", "2026-01-02 09:00", "2026-01-03 09:00")
    there = run(*days)

    with zone("UTC0"):
        assert texts(rule, days) == [
            "daily 3: newest of 2026-01-01; keep_daily is 2",
            "not the newest of 2026-01-02; keep_daily is 2",
            "daily 2 of 2: newest of 2026-01-02; keep_daily is 2",
            "daily 1 of 2: newest of 2026-01-03; keep_daily is 2",
        ]
        reasons = rule.judge(there.checkpoints, there).values()

    assert [(reason.rank, reason.limit) for reason in reasons] == [
        (1, 2),
        (2, 2),
        (None, 2),
        (3, 2),
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (KeepPeriods("hourly", 3), "hourly 2 of 3: oldest, and slots are left; keep_hourly is 3"),
        (KeepPeriods("weekly", None), "weekly 2: oldest, and slots are left; keep_weekly is unlim"),
        (KeepPeriods("yearly", 1), "not the newest of 2026; keep_yearly is 1"),
        (KeepPeriods("monthly", 1), "not the newest of 2026-01; keep_monthly is 1"),
    ],
)
def test_keep_periods_says_why_the_oldest_stays_or_goes(rule, said):
    with zone("UTC0"):
        oldest = texts(rule, at("2026-01-01 09:10", "2026-01-01 09:20"))[0]

    assert oldest.startswith(said)


@pytest.mark.parametrize(
    ("period", "said"),
    [("hourly", "2026-01-01 09:00"), ("weekly", "2026-W01"), ("yearly", "2026")],
)
def test_each_period_has_its_name(period, said):
    with zone("UTC0"):
        (text,) = texts(KeepPeriods(period, 1), at("2026-01-01 09:10"))

    assert text.startswith(f"{period} 1 of 1: newest of {said};")


# --- keep_within -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "times", "kept"),
    [
        ("2h", ["2026-01-02 00:59:59", "2026-01-02 01:00", "2026-01-02 01:00:01"], {3}),
        ("1d", ["2026-01-01 03:00", "2026-01-01 03:00:01"], {2}),
        ("1month", ["2025-12-02 03:00", "2025-12-02 03:00:01"], {2}),
        ("1y1month1d1h", ["2024-12-01 02:00", "2024-12-01 02:00:01"], {2}),
    ],
)
def test_keep_within_counts_back_from_the_newest_and_leaves_out_the_bound(span, times, kept):
    series = at(*times, "2026-01-02 03:00")

    with zone("UTC0"):
        assert steps_kept(KeepWithin(parse_span(span)), series) == kept | {len(series)}


def test_a_day_is_one_of_the_calendar_and_24_hours_are_not():
    with zone(BERLIN):  # the night of 29 March has 23 hours
        series = at("2026-03-28 11:30", "2026-03-28 12:30", "2026-03-29 12:00", tz=BERLIN)

        assert steps_kept(KeepWithin(Span(days=1)), series) == {2, 3}
        assert steps_kept(KeepWithin(Span(seconds=24 * 3600)), series) == {1, 2, 3}


def test_a_month_before_the_31st_is_counted_as_restic_does():
    with zone("UTC0"):
        series = at("2026-03-03 12:00", "2026-03-03 12:01", "2026-03-31 12:00")

        assert steps_kept(KeepWithin(Span(months=1)), series) == {2, 3}


def test_a_run_that_stopped_years_ago_does_not_decay():
    assert steps_kept(KeepWithin(Span(days=1)), at("2015-01-01 12:00", "2015-01-01 13:00")) == {
        1,
        2,
    }


def test_keep_within_says_span_and_place():
    hours = [ck(1, age="8h"), ck(2, age="7h"), ck(3, age="1h")]
    there = run(*hours)
    rule = KeepWithin(parse_span("6.5h"))

    assert texts(rule, hours) == [
        "6h30min or more before the newest; keep_within is 6h30min",
        "within 6h30min of the newest; keep_within is 6h30min",
        "within 6h30min of the newest; keep_within is 6h30min",
    ]
    assert [r.rank for r in rule.judge(there.checkpoints, there).values()] == [1, 2, 3]


def test_keep_within_nothing_is_refused_when_built():
    with pytest.raises(ValueError, match="keep_within must be longer than 0s"):
        KeepWithin(Span())


# --- clocks ------------------------------------------------------------------------------


@pytest.mark.parametrize("tz", [KIRITIMATI, BAKER, BERLIN, NEW_YORK])
@pytest.mark.parametrize(
    "rule",
    [
        *(KeepPeriods(each, 1) for each in ("hourly", "daily", "weekly", "monthly", "yearly")),
        KeepWithin(Span(seconds=1)),
        KeepWithin(Span(months=12_000)),
    ],
    ids=str,
)
def test_the_newest_is_kept_whatever_the_time_zone_and_the_file_times(rule, tz):
    odd = [ck(1, saved_at=FIRST_MOMENT), ck(2, saved_at=FIRST_MOMENT)]
    with zone(tz):
        assert 2 in steps_kept(rule, odd)
        assert 3 in steps_kept(rule, [*odd, ck(3)])


# --- all ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build", [KeepLast, KeepBest, KeepEverySteps, lambda count: KeepPeriods("daily", count)]
)
@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused_when_built(build, count):
    with pytest.raises(ValueError, match=rf"must be at least 1, not {count}"):
        build(count)


@pytest.mark.parametrize(
    "rule",
    [
        *(KeepLast(1), KeepLast(None), KeepBest(1), KeepEverySteps(2)),
        *(KeepPeriods("weekly", 1), KeepPeriods("hourly", None), KeepWithin(Span(seconds=90))),
    ],
)
def test_a_rule_answers_for_every_checkpoint_under_its_own_name(rule):
    there = run(*series(1, 2, 3, 4))

    reasons = rule.judge(there.checkpoints, there)

    assert set(reasons) == {c.name for c in there.checkpoints}
    assert {reason.rule for reason in reasons.values()} == {rule.name}
    assert all(reason.text for reason in reasons.values())
