"""Each rule alone: which checkpoints it keeps, and what it says about every one of them."""

import math

import pytest
from builders import ck, run, series

from ckptd.model import BestMetric
from ckptd.policy import KeepBest, KeepEverySteps, KeepLast


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
        pytest.param(KeepBest(1, "eval_loss"), [0.9, 0.4], {2}, id="named-defaults-to-min"),
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


# --- all ---------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [KeepLast, KeepBest, KeepEverySteps])
@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused_when_built(build, count):
    with pytest.raises(ValueError, match=rf"must be at least 1, not {count}"):
        build(count)


@pytest.mark.parametrize("rule", [KeepLast(1), KeepLast(None), KeepBest(1), KeepEverySteps(2)])
def test_a_rule_answers_for_every_checkpoint_under_its_own_name(rule):
    there = run(*series(1, 2, 3, 4))

    reasons = rule.judge(there.checkpoints, there)

    assert set(reasons) == {c.name for c in there.checkpoints}
    assert {reason.rule for reason in reasons.values()} == {rule.name}
    assert all(reason.text for reason in reasons.values())
