"""What `[policy.finished]` leaves of a run that is over, and that it leaves others alone."""

from dataclasses import replace

import pytest
from builders import NOW, ck, kept, plan_of, run, series, verdict_on, world

from ckptd.model import Standing, Use
from ckptd.policy import KeepBest, KeepLast, Levels, Policy
from ckptd.policy.foresight import is_finished

BOTH = Levels((KeepLast(2), KeepBest(1)), (KeepLast(1),))
POLICY = Policy(rules=(KeepLast(4),), firm=(KeepLast(3),), finished=BOTH)


def test_a_run_under_way_is_kept_by_the_policy():
    plan = plan_of(world(run(*series(1, 2, 3, 4, 5))), POLICY)

    assert kept(plan) == {"checkpoint-2", "checkpoint-3", "checkpoint-4", "checkpoint-5"}
    assert verdict_on(plan, "checkpoint-3").standing is Standing.FIRM


def test_of_a_run_that_is_over_the_finished_rules_alone_keep():
    plan = plan_of(world(run(*series(1, 2, 3, 4, 5), finished=True)), POLICY)

    assert kept(plan) == {"checkpoint-4", "checkpoint-5"}
    assert verdict_on(plan, "checkpoint-4").standing is Standing.SOFT
    assert verdict_on(plan, "checkpoint-3").reasons[0].text == "3rd newest; keep_last is 2"


def test_without_any_the_policy_goes_on_to_hold():
    policy = Policy(rules=(KeepLast(3),), firm=(KeepLast(3),))

    plan = plan_of(world(run(*series(1, 2, 3, 4), finished=True)), policy)

    assert kept(plan) == {"checkpoint-2", "checkpoint-3", "checkpoint-4"}


def test_what_is_held_stays_when_the_run_is_over():
    over = run(*series(1, 2, 3, 4), finished=True, pointers={"latest": "checkpoint-1"})

    assert "checkpoint-1" in kept(plan_of(world(over), POLICY))


def test_a_frozen_policy_freezes_a_finished_run_too():
    policy = Policy(finished=BOTH, frozen="nobody knows what is wanted")

    over = run(*series(1, 2, 3), finished=True)

    assert kept(plan_of(world(over), policy)) == {"checkpoint-1", "checkpoint-2", "checkpoint-3"}


# --- when it is over ---------------------------------------------------------------------

DAY = 86_400.0
LONG_QUIET = (ck(1, age="3d"), ck(2, age="2d"))


@pytest.mark.parametrize(
    ("there", "over"),
    [
        pytest.param(run(*LONG_QUIET), True, id="quiet-and-used-by-nobody"),
        pytest.param(run(ck(1, age="3d"), ck(2, age="23h")), False, id="a-save-of-today"),
        pytest.param(run(ck(1, age=DAY)), False, id="exactly-as-long"),
        pytest.param(run(), False, id="nothing-saved"),
        pytest.param(run(*LONG_QUIET, live=True), False, id="a-process-names-it"),
        pytest.param(run(*LONG_QUIET, save_interval_seconds=DAY), False, id="saves-once-a-day"),
        pytest.param(run(*LONG_QUIET, save_interval_seconds=DAY / 2), True, id="twice-a-day"),
        pytest.param(
            run(*LONG_QUIET, ck(3, age="2h", health="writing")), False, id="a-save-under-way"
        ),
        pytest.param(
            run(*LONG_QUIET, ck(3, age="2h", health="broken")), False, id="it-crashed-today"
        ),
        pytest.param(run(*LONG_QUIET, ck(3, age="-2h")), False, id="a-save-from-the-future"),
        pytest.param(
            run(replace(LONG_QUIET[0], age=60.0)),
            False,
            id="old-times-but-seen-to-come-a-minute-ago",
        ),
        pytest.param(
            run(replace(LONG_QUIET[0], uses=(Use("open"),)), LONG_QUIET[1]), False, id="one-is-open"
        ),
        pytest.param(run(replace(LONG_QUIET[0], unseen=True)), False, id="nobody-can-say-who"),
    ],
)
def test_a_run_is_finished_when_nobody_uses_it_and_it_is_quiet_for_long(there, over):
    assert is_finished(there, NOW, after=DAY) is over
