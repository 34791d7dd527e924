"""When a checkpoint would go, in one sentence that promises no more than is known."""

from dataclasses import replace

import pytest
from builders import GIB, ck, disk, lost, plan_of, run, saves_of, series, trashed, world

from ckptd.model import Use
from ckptd.policy import (
    KeepBest,
    KeepLast,
    KeepPeriods,
    KeepWithin,
    Levels,
    Marks,
    Policies,
    Policy,
    outlook,
    outlook_of_trash,
)
from ckptd.units import Span

PYTHON = Use("open", 42, "python")
TEN = series(1, 2, 3, 4, 5, every="10min")
LAST_3 = Policy(rules=(KeepLast(3), KeepBest(1)), firm=(KeepLast(3), KeepBest(1)))
FIRM = Policy(rules=(KeepLast(None),), firm=(KeepLast(None),))
BEFORE_DUE = saves_of([ck(4, age=480 + 1200), ck(5, age=480)])
OLD = [ck(n, age=2 * 86_400 - 600 * n) for n in range(1, 6)]


def foreseen(here, name, policy=None, **policies):
    plan = plan_of(here, policy, **policies)
    given = Policies(default=Policy() if policy is None else policy, **policies)
    run_plan, verdict = next(
        (p, v) for p in plan.runs for v in p.verdicts if v.checkpoint.path.endswith(name)
    )
    return outlook(verdict, run_plan, plan, here, given)


def told(here, name, policy=None, **policies):
    found = foreseen(here, name, policy, **policies)
    return found.seconds, found.text


def with_(at, **fields):
    """TEN with something about the save of the step *at*."""
    return run(*[replace(c, **fields) if c.step == at else c for c in TEN])


@pytest.mark.parametrize(
    ("there", "name", "policy", "seconds", "text"),
    [
        pytest.param(
            run(*TEN), "-2", LAST_3, 0.0, "It goes with the next apply or watch.", id="now"
        ),
        pytest.param(
            run(*TEN, calm=1.5),
            "-2",
            LAST_3,
            1.5,
            "It goes with the next apply or watch, once 1.5 s of calm have passed.",
            id="calm",
        ),
        pytest.param(
            run(*TEN, saves=BEFORE_DUE),
            "-4",
            LAST_3,
            1920.0,
            "It goes after 2 more saves, in about 32 min.",
            id="rank 2 of 3",
        ),
        pytest.param(
            run(*TEN), "-3", LAST_3, 0.0, "It goes after 1 more save, which is due.", id="due"
        ),
        pytest.param(
            run(*TEN, finished=True, saves=()),
            "-5",
            LAST_3,
            None,
            "It goes after 3 more saves, but none is expected: its run is finished.",
            id="finished",
        ),
        pytest.param(
            run(*series(1, 2, 3, every="9d")[:2]),
            "-2",
            LAST_3,
            1555200.0,
            "It goes after 3 more saves, in about 18 d.",
            id="a slow run",
        ),
        pytest.param(
            run(*TEN, saves=saves_of(TEN[:1]), live=True),
            "-5",
            LAST_3,
            None,
            "It goes after 3 more saves.",
            id="no rhythm is known",
        ),
        pytest.param(
            run(*TEN, saves=BEFORE_DUE),
            "-5",
            None,
            None,
            "It stays until after 2 more saves, in about 32 min; then only while there is room.",
            id="newest by default",
        ),
        pytest.param(
            run(*TEN),
            "-5",
            FIRM,
            None,
            "It stays for as long as keep_last keeps it.",
            id="unlimited even under pressure",
        ),
        pytest.param(
            run(*[replace(c, metrics={"eval_loss": c.step}) for c in TEN]),
            "-1",
            LAST_3,
            None,
            "It stays until better ones are saved.",
            id="the best",
        ),
        pytest.param(
            with_(3, pinned=True),
            "-3",
            LAST_3,
            None,
            "It stays until ckptd unpin /data/a/checkpoint-3 lets go of it; but for that it goes"
            " after 1 more save, which is due.",
            id="pinned",
        ),
        pytest.param(
            run(*TEN),
            "-1",
            replace(LAST_3, pin=("*-1",)),
            None,
            "It goes once pin = ['*-1'] is taken out.",
            id="pinned by a pattern",
        ),
        pytest.param(
            with_(2, uses=(PYTHON,)),
            "-2",
            LAST_3,
            None,
            "It goes once python (pid 42) has let go of it.",
            id="in use",
        ),
        pytest.param(
            with_(2, uses=(PYTHON, Use("named", 43, "vllm"), Use("named", 44, "vllm"))),
            "-2",
            LAST_3,
            None,
            "It goes once python (pid 42) has let go of it and vllm (pid 43) and vllm (pid 44)"
            " have let go of it.",
            id="in use and named",
        ),
        pytest.param(
            run(*TEN, pointers={"best": "checkpoint-1", "latest": "checkpoint-5"}),
            "-1",
            LAST_3,
            None,
            "It goes once best points elsewhere.",
            id="pointed at",
        ),
        pytest.param(
            run(*TEN, pointers={"latest": "checkpoint-5"}, saves=BEFORE_DUE),
            "-5",
            LAST_3,
            None,
            "It stays until latest points elsewhere; but for that it goes after 3 more saves,"
            " in about 52 min.",
            id="pointed at by what follows the newest",
        ),
        pytest.param(
            with_(2, foreign=("notes.md",)),
            "-2",
            LAST_3,
            None,
            "It goes once notes.md is moved out of it.",
            id="foreign",
        ),
        pytest.param(
            with_(2, unseen=True),
            "-2",
            LAST_3,
            None,
            "It goes once a ckptd looks that may see its owner's processes.",
            id="another's",
        ),
        pytest.param(
            run(*TEN, live=True, trainer_limit=4),
            "-1",
            Policy(rules=(KeepLast(4),), firm=(KeepLast(4),)),
            None,
            "It goes once the trainer rotates it away itself, or its run ends.",
            id="the trainer rotates",
        ),
        pytest.param(
            run(*TEN, ck(9, age=0, health="writing")),
            "-1",
            LAST_3,
            None,
            "It goes once checkpoint-9 is complete.",
            id="a save is open",
        ),
        pytest.param(
            run(*TEN, ck(9, age=0, health="writing")),
            "-9",
            LAST_3,
            None,
            "It stays until it is complete.",
            id="writing",
        ),
        pytest.param(
            run(*TEN, adopted=False),
            "-1",
            LAST_3,
            None,
            "It stays until ckptd adopt /data/a puts it under care.",
            id="not adopted",
        ),
        pytest.param(
            run(*TEN),
            "-1",
            replace(LAST_3, frozen="unknown key"),
            None,
            "It stays until the drop-in that cannot be obeyed is mended.",
            id="frozen",
        ),
        pytest.param(
            run(*TEN, trusted=False),
            "-1",
            LAST_3,
            None,
            'It stays until trust = ["huggingface"] allows acting on its format.',
            id="untrusted",
        ),
        pytest.param(
            run(*TEN, ck(6, age="9min", health="broken"), live=True, users=(PYTHON,)),
            "-6",
            LAST_3,
            None,
            "It stays until python (pid 42) has ended.",
            id="a wreck while its trainer lives",
        ),
        pytest.param(
            run(*TEN, ck(6, age="9min", health="unproven")),
            "-6",
            LAST_3,
            None,
            "It stays until it is proven whole or damaged, or a person removes it.",
            id="unproven",
        ),
        pytest.param(
            run(*TEN, ck(6, age="-9d")),
            "-6",
            LAST_3,
            None,
            "It stays until its file times are mended.",
            id="from the future",
        ),
        pytest.param(
            run(*series(1, 2, every="1min")),
            "-1",
            Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), min_age=600),
            480.0,
            "It goes once it is old enough, in 8 min.",
            id="too young",
        ),
        pytest.param(
            run(*[replace(c, divergence=lost(4)) if c.step > 3 else c for c in TEN]),
            "-3",
            LAST_3,
            None,
            "It stays until a newer healthy save is complete and for as long as keep_last keeps"
            " it.",
            id="the last healthy one",
        ),
        pytest.param(
            run(*[replace(c, recorded_best="checkpoint-1") for c in TEN]),
            "-1",
            LAST_3,
            None,
            "It stays until the trainer records a better one.",
            id="the trainer's best",
        ),
        pytest.param(
            run(*TEN),
            "-5",
            Policy((KeepWithin(Span(seconds=1800)),), (KeepWithin(Span(seconds=1800)),)),
            1200.0,
            "It goes after 3 more saves, in about 20 min.",
            id="within a span",
        ),
        pytest.param(
            run(*TEN),
            "-5",
            Policy((KeepWithin(Span(days=99)),), (KeepWithin(Span(days=99)),)),
            None,
            "It stays until the newest was saved 99d after it.",
            id="within a span longer than one can look ahead",
        ),
        pytest.param(
            run(*series(1, 2, 3, every="8h")),
            "-3",
            Policy((KeepPeriods("daily", 2),), (KeepPeriods("daily", 2),)),
            86400.0,
            "It goes after 4 more saves, in about 1 d.",
            id="two newer days get one",
        ),
        pytest.param(
            run(*TEN),
            "-1",
            Policy((KeepLast(1), KeepPeriods("yearly", 3)), (KeepPeriods("yearly", 3),)),
            None,
            "It stays until 2 newer years have saves.",
            id="its year is far from over",
        ),
        pytest.param(
            with_(1, metrics={"eval_loss": 0.1}),
            "-1",
            replace(LAST_3, finished=Levels((KeepLast(1),), (KeepLast(1),))),
            None,
            "It stays until its run is finished.",
            id="other rules once it is over",
        ),
    ],
)
def test_it_says_when_it_goes_or_what_must_come_to_pass(there, name, policy, seconds, text):
    assert told(world(there), name, policy) == (seconds, text)


def test_what_goes_for_room_says_its_turn_and_when_that_may_be():
    # 30 GiB free, 15 GiB to the mark; a gibibyte in ten minutes.
    here = world(run(*TEN), used=70)
    for nth, step in (("1st", 1), ("2nd", 3), ("3rd", 2)):
        turn = f"as the {nth} of 3 that may go; at this rate in 2.5 h or later"
        assert told(here, f"-{step}") == (9000.0, f"It goes when the disk needs room, {turn}.")


def test_what_goes_before_it_puts_it_off():
    marks = Marks(high=80 * GIB, low=80 * GIB)
    here = world(run(*TEN), used=70, trash=[trashed(7, bytes=2 * GIB)])
    # 10 GiB to the mark, 2 in the trash, and one or two before it.
    found = [foreseen(here, f"-{n}", marks=marks).seconds for n in (1, 3, 2)]
    assert found == pytest.approx([7200, 7800, 8400])


def test_all_runs_of_the_disk_stand_in_one_line():
    here = world(run(*TEN), run(*OLD, path="/data/b", finished=True))
    assert "as the 4th of 6 that may go" in foreseen(here, "a/checkpoint-1").text
    assert "as the 1st of 6 that may go" in foreseen(here, "b/checkpoint-1").text


def test_where_nothing_grows_no_time_is_said():
    seconds, text = told(world(run(*OLD, finished=True)), "-1")
    assert seconds is None
    assert text.endswith("as the 1st of 3 that may go; nothing is known to fill it.")


def test_the_narrower_of_two_limits_is_the_one():
    capacity = disk(75, total=8 * GIB, limit="capacity", runs=frozenset({"/data/a"}))
    found = foreseen(world(run(*TEN), filesystems=(disk(10), capacity)), "-1")
    assert found.text.startswith("It goes when the capacity needs room")


def test_by_the_rules_or_for_room_whichever_comes_first():
    soft = Policy(rules=(KeepLast(5),), firm=(KeepLast(1),))
    by_rules = told(world(run(*TEN), used=10), "-1", soft)
    assert by_rules == (0.0, "It goes after 1 more save, which is due, or sooner for room.")
    seconds, text = told(world(run(*TEN), used=84), "-4", soft)
    assert text.endswith("; in any case after 4 more saves.")
    assert seconds < 4 * 600


def test_what_frees_nothing_does_not_stand_in_line():
    here = world(with_(1, shared=GIB))
    assert told(here, "-1") == (None, "It stays: letting it go would free next to nothing.")


@pytest.mark.parametrize(
    ("item", "seconds", "text"),
    [
        (trashed(1, since="2h"), 0.0, "It is purged with the next apply or watch."),
        (
            trashed(1, since="10min"),
            3000.0,
            "It is purged in 50 min, or sooner when the disk needs room.",
        ),
        (
            trashed(1, since="2h", known=False),
            None,
            "It stays: no record tells where it came from.",
        ),
        (
            trashed(1, age=0, since="10min", action="set_aside", weights_whole=True),
            None,
            "It stays until its run has a newer healthy checkpoint.",
        ),
    ],
)
def test_the_trash_says_until_when(item, seconds, text):
    here = world(run(*TEN), trash=[item])
    found = outlook_of_trash(item, plan_of(here), here, Policies())
    assert (found.seconds, found.text) == (seconds, text)


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Policy(trash_for=float("inf")), "It stays until the disk needs room."),
        (Policy(frozen="no"), "It stays until the drop-in that cannot be obeyed is mended."),
    ],
)
def test_what_is_never_purged_by_time_is_not_promised_to_be(policy, text):
    item = trashed(1)
    here = world(run(*TEN), trash=[item])
    found = outlook_of_trash(item, plan_of(here, policy), here, Policies(default=policy))
    assert (found.seconds, found.text) == (None, text)
