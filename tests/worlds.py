"""Invented worlds and policies for hypothesis: full of wrecks, clocks gone wrong and holds."""

from dataclasses import replace
from random import Random

from builders import GIB, ck, disk, lost, run, trashed
from hypothesis import strategies as st

from ckptd.model import BestMetric, Use, World
from ckptd.policy import (
    KeepBest,
    KeepEverySteps,
    KeepLast,
    KeepPeriods,
    KeepWithin,
    Levels,
    Policy,
)
from ckptd.units import Span

PLACES = ["/data", "/scratch"]
PATHS = ["/data/a", "/data/b", "/scratch/c"]


class Dice:
    """Choices made by bytes, one each.

    One draw, a seed, for a whole world: hypothesis is slow and shy with hundreds of choices.
    """

    def __init__(self, data):
        self._bytes = iter(data)

    def pick(self, *options):
        return options[next(self._bytes) % len(options)]

    def rarely(self):
        return self.pick(*[False] * 11, True)

    def number(self, sides):
        return next(self._bytes) % sides


DAY = 86_400
AGES = [*range(0, 18_000, 600), *(DAY * days for days in (1, 2, 9, 40, 400)), -30, -7200]
AGES += [-DAY * 365]
USES = [*[()] * 18, (Use("open", 1, "python"),), (Use("named", 2, "python"),)]


def a_checkpoint(dice, number, writing):
    return ck(
        dice.pick(*range(12), None),
        dice.pick(0.1, 0.2, 0.3, float("nan"), None),
        age=dice.pick(*AGES),
        health=dice.pick(*["complete"] * 8, "broken", "broken", "unproven", *writing),
        name=f"checkpoint-{number}",
        bytes=dice.number(9) * GIB,
        pinned=dice.rarely(),
        weights_whole=dice.pick(True, False),
        recorded_best=dice.pick(*[None] * 20, *(f"checkpoint-{n}" for n in range(7))),
        uses=dice.pick(*USES),
        foreign=dice.pick(*[()] * 15, ("notes.md",)),
        divergence=dice.pick(*[None] * 6, lost(3), lost(7, finite_at=4), lost(5, proven=False)),
    )


def a_run(dice, path):
    writing = dice.pick((), (), (), ("writing",))
    return run(
        *[a_checkpoint(dice, number, writing) for number in range(dice.number(8))],
        path=path,
        filesystem="/" + path.split("/")[1],
        adopted=not dice.rarely(),
        trusted=not dice.rarely(),
        live=dice.pick(False, True),
        finished=dice.pick(False, False, True),
        calm=dice.pick(0.0, 1.5),
        trainer_limit=dice.pick(None, None, 1, 2, 3, 4),
        pointers=dice.pick({}, {}, {}, {"latest": "checkpoint-1"}),
        best_metric=dice.pick(None, BestMetric("eval_loss", "max")),
    )


def a_trashed(dice, number):
    path = dice.pick(*PATHS)
    return trashed(
        number,
        age=dice.pick(*AGES),
        since=dice.pick(0, 600, 3600, 7200),
        action=dice.pick("evict", "set_aside"),
        run=path,
        filesystem="/" + path.split("/")[1],
        name=f"gone-{number}",
        bytes=dice.number(9) * GIB,
        weights_whole=dice.pick(True, False),
        known=not dice.rarely(),
    )


def a_world(data):
    dice = Dice(data)
    used = [50, 0, 82, 84.9, 85, 88, 95, 100]
    return World(
        runs=tuple(a_run(dice, path) for path in PATHS if not dice.rarely()),
        filesystems=tuple(
            disk(dice.pick(*used), path=place) for place in PLACES if not dice.rarely()
        ),
        trash=tuple(a_trashed(dice, number) for number in range(dice.number(5))),
    )


def with_used(world, used, total=100 * GIB):
    disks = tuple(disk(used, total, path=fs.path) for fs in world.filesystems)
    return replace(world, filesystems=disks)


worlds = st.integers(0, 2**64).map(lambda seed: a_world(Random(seed).randbytes(400)))
roomy = worlds.map(lambda world: with_used(world, 50))
rules = st.sampled_from(
    [
        *(KeepLast(count) for count in (None, 1, 2, 3, 5)),
        *(KeepBest(count, metric) for count in (1, 3) for metric in (None, "eval_los")),
        KeepBest(2, "eval_loss", "min"),
        *(KeepEverySteps(steps) for steps in (2, 5, 7)),
        *(KeepWithin(span) for span in (Span(seconds=3600), Span(days=2), Span(months=1))),
        *(KeepPeriods("hourly", count) for count in (1, 2, None)),
        *(KeepPeriods("daily", count) for count in (2, 9)),
        *(KeepPeriods(period, 1) for period in ("weekly", "monthly", "yearly")),
    ]
)
rule_sets = st.sampled_from([0, 1, 1, 1, 2, 2]).flatmap(lambda size: st.tuples(*[rules] * size))
policies = st.builds(
    Policy,
    rules=rule_sets,
    firm=rule_sets,
    finished=st.none() | st.none() | st.builds(Levels, rule_sets, rule_sets),
    pin=st.sampled_from([*[()] * 8, ("checkpoint-3",), ("*",)]),
    min_age=st.sampled_from([0.0, 0.0, 1800.0]),
    trash_for=st.sampled_from([3600.0, 0.0]),
)
befores = st.sets(st.sampled_from(PLACES)).map(frozenset)
