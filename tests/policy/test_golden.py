"""Stories as text, with their reasons: what a person would read. GOLDEN=refresh rewrites them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from builders import GIB, NOW, ck, disk, lost, plan_of, run, series, trashed, world

from ckptd.model import BestMetric, Obstacle, Use
from ckptd.policy import KeepBest, KeepEverySteps, KeepLast, Marks, Policy
from ckptd.render import lay_out, plan_blocks
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


def diverged(first, since=None, **fields):
    """EVALUATED, but from the step *first* on its training has diverged."""
    what = lost(since or first, **fields)
    return run(*[replace(c, divergence=what) if c.step >= first else c for c in EVALUATED])


def every(gap, *steps, size=GIB, path, **fields):
    """A run that saves so often, each save so large; the next one is due."""
    saves = [replace(c, bytes=size) for c in series(*steps, every=gap)]
    return run(*saves, path=path, **fields)


def long_ago(*steps, path):
    """A run that ended two days ago."""
    return run(*[ck(s, age=2 * DAY - s) for s in steps], path=path, finished=True)


DAY = 86_400
# A slow training with large saves beside a quick one with small ones.
SLOW = every("1h", 100, 200, 300, 400, size=8 * GIB, path="/data/slow")
QUICK = every("5min", 10, 20, 30, 40, 50, path="/data/quick", live=True)
WILD = run(*series(7, 8), path="/data/wild", adopted=False)
MANY_FILES = [replace(c, inodes=100) for c in series(1, 2, 3, 4, 5, every="10min")]
IN_THE_WAY = (
    Obstacle("/data/merged", 40 * GIB, "no checkpoint that ckptd knows"),
    Obstacle("/home/kim/.cache/huggingface", 12 * GIB, "a cache of models and datasets"),
    Obstacle("/data/a", 3 * GIB, "3 checkpoints, kept even under pressure"),
    Obstacle("/data/wild", 2 * GIB, "2 checkpoints, not adopted"),
)


def obstructed(plan):
    """*plan* whose shortfalls name what is in the way, as who looked would name it."""
    reliefs = (replace(r, in_the_way=IN_THE_WAY if r.shortfall else ()) for r in plan.filesystems)
    return replace(plan, filesystems=tuple(reliefs))


# Where the story is about a disk: what plan prints of it as well.
DISK_STORIES = {
    "a shortfall that names what is in the way": obstructed(
        plan_of(world(run(*EVALUATED), QUICK, WILD, filesystems=(disk(97, grows=2.0**20),)))
    ),
    "a reserve before a save": plan_of(
        world(every("10min", 1, 2, 3, 4, 5, path="/data/a"), filesystems=(disk(70, 5 * GIB),))
    ),
    "a reserve that nobody can give": obstructed(
        plan_of(
            world(every("10min", 1, 2, path="/data/a"), filesystems=(disk(90, 5 * GIB),)),
            marks=Marks(high=10 * GIB),
        )
    ),
    "relief by replay cost over two runs": plan_of(world(SLOW, QUICK, used=86)),
    "finished runs first": plan_of(
        world(QUICK, long_ago(1, 2, 3, 4, path="/data/old"), used=84.9),
        before={"/data"},
    ),
    "inodes": plan_of(
        world(run(*MANY_FILES), filesystems=(disk(10, inodes_total=1000, inodes_free=50),))
    ),
    "inodes and bytes": plan_of(
        world(run(*MANY_FILES), filesystems=(disk(86, inodes_total=1000, inodes_free=50),))
    ),
    "a quota": plan_of(
        world(
            run(*EVALUATED),
            every("10min", 1, 2, 3, 4, path="/data/kim", uid=1001),
            filesystems=(
                disk(50),
                disk(96, 5 * GIB, limit="quota of user 1001", runs=frozenset({"/data/kim"})),
            ),
        )
    ),
    "max_size": plan_of(
        world(every("10min", 1, 2, 3, 4, 5, path="/data/a")), Policy(max_size=3 * GIB)
    ),
    "a max_size smaller than what is firm": plan_of(
        world(every("10min", 1, 2, 3, path="/data/a")), Policy(max_size=GIB)
    ),
    "an open save and no room for the rest of it": plan_of(
        world(
            run(*EVALUATED, ck(300, age=0, health="writing", bytes=GIB // 4), live=True),
            filesystems=(disk(92, 8 * GIB),),
        ),
        marks=Marks(high=10 * GIB),
    ),
    "a neighbour fills the disk": plan_of(
        world(run(*EVALUATED), filesystems=(disk(80, writes=3.0 * GIB, grows=1.0 * GIB),))
    ),
}

STORIES = {
    "a training that diverged": plan_of(world(diverged(200)), KEEP_TWO),
    "a training that diverged on a full disk": plan_of(world(diverged(150), used=99)),
    "a training that may have diverged": plan_of(
        world(diverged(200, proven=False)), Policy(rules=(KeepLast(1),), firm=(KeepLast(1),))
    ),
    "a sparse log of a training that diverged": plan_of(
        world(diverged(250, finite_at=110)), Policy(rules=(KeepLast(1),), firm=(KeepLast(1),))
    ),
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
        f"{r.filesystem.name} {r.state}: {show_bytes(r.demand)} needed,"
        f" {show_bytes(r.shortfall)} missing"
        + (f"; {r.inodes} inodes needed, {r.inodes_shortfall} missing" if r.inodes else "")
        for r in plan.filesystems
    ]
    return "\n".join(lines) + "\n"


def printed(plan):
    """What `ckptd plan` says of the disks, below what it says of the runs' checkpoints."""
    blocks = [replace(block, rows=()) for block in plan_blocks(plan)]
    return lay_out(blocks, width=120) + "\n"


def _of_disk(plan):
    return f"{told(plan)}\n{printed(plan)}"


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


@pytest.mark.parametrize("story", [*STORIES, *DISK_STORIES])
def test_the_plan_reads_as_its_golden_file(story):
    text = told(STORIES[story]) if story in STORIES else _of_disk(DISK_STORIES[story])
    if os.environ.get("GOLDEN") == "refresh":
        golden_file(story).write_text(text)

    assert golden_file(story).read_text() == text


def test_every_golden_file_has_a_story():
    assert {path.name for path in GOLDEN.iterdir()} == {
        golden_file(story).name for story in (*STORIES, *DISK_STORIES)
    }
