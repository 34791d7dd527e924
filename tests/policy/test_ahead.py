"""What becomes of a checkpoint as its run goes on saving: said as it then comes."""

from datetime import timedelta

from builders import NOW, ck, kept, plan_of, run, saves_of, series, world
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import rules

from ckptd.policy import KeepBest, KeepEverySteps, KeepLast, Policy
from ckptd.policy.ahead import Turn, look_ahead

LAWS = settings(derandomize=True, max_examples=200, deadline=None, database=None)
EVERY = 600.0


def turns(there, name, policy):
    ahead = look_ahead(there, name, policy, NOW)
    return ahead.softens, ahead.goes


def test_a_wreck_an_open_save_and_one_from_the_future_do_not_disturb():
    odd = (ck(9, age=0, health="writing"), ck(8, age="5min", health="broken"), ck(1, age="-9d"))
    there = run(*series(5, 6, every="10min"), *odd, saves=saves_of(series(5, 6, every="10min")))
    two = Policy(rules=(KeepLast(2),), firm=(KeepLast(2),))

    assert turns(there, "checkpoint-6", two) == (None, Turn(2, EVERY))


def test_what_nothing_ever_takes_has_no_turn():
    best = Policy(rules=(KeepBest(1),), firm=(KeepBest(1),))
    there = run(ck(1, 0.1, age="20min"), ck(2, 0.2, age="10min"))

    assert turns(there, "checkpoint-1", best) == (None, None)
    assert look_ahead(there, "checkpoint-1", best, NOW).last.reasons[0].rule == "keep_best"


def after(there, number, policy):
    """Names that are left after so many more saves of *there*, and a plan after each."""
    at = NOW
    for count in range(number + 1):
        left = kept(plan_of(world(there), policy, now=at))
        there = run(*[c for c in there.checkpoints if c.name in left])
        if count < number:
            at = NOW + timedelta(seconds=EVERY * count)
            step = there.checkpoints[-1].step + 1
            there = run(*there.checkpoints, ck(step, saved_at=at, age=0.0))
    return left


@LAWS
@given(st.lists(rules, min_size=1, max_size=2), st.integers(2, 6), st.data())
def test_it_goes_after_as_many_saves_as_it_said(some, count, data):
    policy = Policy(rules=tuple(some), firm=tuple(some))
    size = {"min_size": count, "max_size": count}
    losses = data.draw(st.lists(st.sampled_from([0.1, 0.2, None]), **size))
    saves = [ck(n, loss, age=EVERY * (count - n)) for n, loss in enumerate(losses)]
    there = run(*saves)
    for name in kept(plan_of(world(there), policy)):
        turn = look_ahead(there, name, policy, NOW, most=9).goes
        if turn is None:
            assert name in after(there, 9, policy)
        else:
            assert name in after(there, turn.saves - 1, policy)
            assert name not in after(there, turn.saves, policy)
            assert turn.seconds == EVERY * (turn.saves - 1)


def test_a_rule_that_nobody_reaches_the_end_of_is_answered_soon():
    there = run(*series(*range(500), every="1min"))
    endless = Policy(rules=(KeepLast(None), KeepEverySteps(1)), firm=(KeepEverySteps(1),))

    assert turns(there, "checkpoint-1", endless) == (None, None)
