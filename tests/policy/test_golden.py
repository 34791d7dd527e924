"""Stories as text, with their reasons: what a person would read. GOLDEN=refresh rewrites them."""

import os
from pathlib import Path

import pytest
from builders import GIB, NOW, ck, disk, plan_of, run, series, trashed, world

from ckptd.model import BestMetric, Use
from ckptd.policy import KeepBest, KeepEverySteps, KeepLast, Policy
from ckptd.units import show_bytes

GOLDEN = Path(__file__).parent / "golden"
KEEP_TWO = Policy(rules=(KeepLast(2), KeepBest(1)), firm=(KeepLast(2), KeepBest(1)))
THIN = Policy(rules=(KeepLast(None),), firm=(KeepLast(1),))
TRAINER = Use("named", 42, "python")
EVALUATED = [
    ck(step, loss, age=age)
    for step, loss, age in [
        (50, 0.9, "50min"),
        (100, 0.4, "40min"),
        (150, 0.6, "30min"),
        (200, 0.7, "20min"),
        (250, 0.8, "10min"),
    ]
]


def wreck(**fields):
    return ck(300, age="1min", health="broken", weights_whole=True, **fields)


STORIES = {
    "keep_last 2 with the best in the middle": plan_of(world(run(*EVALUATED)), KEEP_TWO),
    "the defaults with room keep everything": plan_of(world(run(*EVALUATED))),
    "the defaults over the high mark": plan_of(
        world(run(*EVALUATED), filesystems=(disk(85, total=40 * GIB),))
    ),
    "a shortfall": plan_of(
        world(run(*EVALUATED), run(*series(7, 8), path="/data/wild", adopted=False), used=95)
    ),
    "a wreck while the trainer lives": plan_of(
        world(run(*EVALUATED, wreck(), live=True, users=(TRAINER,))), KEEP_TWO
    ),
    "a wreck after the trainer died": plan_of(world(run(*EVALUATED, wreck())), KEEP_TWO),
    "a wreck on a full disk": plan_of(world(run(*EVALUATED, wreck()), used=97), KEEP_TWO),
    "a reused output directory": plan_of(
        world(run(*series(900, 1000, 50, 100, 150))),
        Policy(rules=(KeepLast(2),), firm=(KeepLast(2),)),
    ),
    "pinned by a pattern": plan_of(
        world(run(*series(1, 2, 3), ck(3, age="3h", name="checkpoint-1-merged"))),
        Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), pin=("*-merged",)),
    ),
    "the whole run pinned": plan_of(
        world(run(*series(1, 2, 3)), used=99),
        Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), pin=("*",)),
    ),
    "in use": plan_of(
        world(
            run(
                ck(1, age="4h", uses=(Use("mapped", 7, "vllm"),)),
                ck(2, age="3h", uses=(TRAINER,)),
                ck(3, age="2h", foreign=("notes.md",)),
                ck(4, age="1h"),
                pointers={"latest": "checkpoint-3"},
            ),
            used=99,
        ),
        THIN,
    ),
    "calm": plan_of(world(run(*EVALUATED, calm=1.5)), KEEP_TWO),
    "a save is open": plan_of(world(run(*EVALUATED, ck(300, age=0, health="writing"))), KEEP_TWO),
    "a save is open on a full disk": plan_of(
        world(run(*EVALUATED, ck(300, age=0, health="writing")), used=90), KEEP_TWO
    ),
    "the trainer rotates by itself": plan_of(
        world(run(*EVALUATED, live=True, trainer_limit=5)),
        Policy(rules=(KeepLast(4),), firm=(KeepLast(2),)),
    ),
    "not adopted": plan_of(world(run(*EVALUATED, adopted=False), used=99), KEEP_TWO),
    "the trash": plan_of(
        world(
            run(*series(10)),
            trash=(
                trashed(1, since="2h"),
                trashed(2, since="10min"),
                trashed(3, age="0s", since="2h", action="set_aside", weights_whole=True),
                trashed(4, since="2h", known=False),
            ),
        )
    ),
    "the trash on a full disk": plan_of(
        world(run(*series(10)), used=86, trash=(trashed(1, since="2h"), trashed(2, since="10min")))
    ),
    "file times in 2099": plan_of(
        world(run(*series(1, 2, 3), ck(4, saved_at=NOW.replace(year=2099)))),
        Policy(rules=(KeepLast(1),), firm=(KeepLast(1),)),
    ),
    "keep_every_steps": plan_of(
        world(run(*series(500, 1100, 1600, 2100, 2600))),
        Policy(rules=(KeepLast(1), KeepEverySteps(1000)), firm=(KeepLast(1),)),
    ),
    "a misspelt metric": plan_of(
        world(run(*EVALUATED)),
        Policy(rules=(KeepLast(1), KeepBest(1, "eval_los")), firm=(KeepLast(1),)),
    ),
    "the trainer's own metric and recorded best": plan_of(
        world(
            run(
                ck(1, age="4h", metrics={"eval_f1": 0.9}),
                ck(2, age="3h", metrics={"eval_f1": 0.8}),
                ck(3, age="2h", metrics={"eval_f1": 0.7}, recorded_best="checkpoint-2"),
                best_metric=BestMetric("eval_f1", "max"),
            )
        ),
        Policy(rules=(KeepLast(1), KeepBest(1)), firm=(KeepLast(1),)),
    ),
    "too young": plan_of(
        world(run(*series(1, 2))), Policy(rules=(KeepLast(1),), firm=(KeepLast(1),), min_age=600)
    ),
    "pressure keeps more than the policy": plan_of(
        world(run(*EVALUATED), used=99),
        Policy(rules=(KeepLast(1),), firm=(KeepLast(1), KeepBest(1))),
    ),
    "no rule": plan_of(world(run(*EVALUATED)), Policy(rules=(), firm=())),
}


def told(plan):
    """A plan as text: verdicts, then the steps in their order, then what each disk needs."""
    lines = [
        f"{v.checkpoint.health} {v.standing} {v.action} {v.checkpoint.path} | {said(v.reasons)}"
        for v in plan.verdicts
    ]
    lines += ["then: " + step(action) for action in plan.actions]
    lines += [
        f"{r.filesystem.path} {r.state}: {show_bytes(r.demand)} needed,"
        f" {show_bytes(r.shortfall)} missing"
        for r in plan.filesystems
    ]
    return "\n".join(lines) + "\n"


def said(reasons):
    return " | ".join(reason.text for reason in reasons)


def step(action):
    text = f"{action.kind} {action.path}, {show_bytes(action.bytes)}"
    text += ", unlinked at once" if action.purge_now and action.checkpoint else ""
    text += f", in {action.wait:g} s" if action.wait else ""
    return text + (f" | {said(action.reasons)}" if action.item else "")


def golden_file(story):
    words = "".join(c if c.isalnum() else " " for c in story.replace("'", "")).split()
    return GOLDEN / ("_".join(words) + ".txt")


@pytest.mark.parametrize("story", STORIES)
def test_the_plan_reads_as_its_golden_file(story):
    text = told(STORIES[story])
    if os.environ.get("GOLDEN") == "refresh":
        golden_file(story).write_text(text)

    assert golden_file(story).read_text() == text


def test_every_golden_file_has_a_story():
    assert {path.name for path in GOLDEN.iterdir()} == {golden_file(s).name for s in STORIES}
