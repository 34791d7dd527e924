"""What holds from one plan to the next: what was promised comes, and nothing flaps."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from builders import GIB, NOW, ck, disk, run, saves_of
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import befores, policies, worlds

from ckptd.model import ActionKind, Linked, Standing, World
from ckptd.policy import KeepLast, Marks, Policies, Policy, plan

DEFAULT_MARKS = Marks()
MANY = settings(derandomize=True, max_examples=300, deadline=None, database=None)
WEEKS = settings(derandomize=True, max_examples=6, deadline=None, database=None)


def made(here, policy, before=frozenset(), now=NOW, marks=DEFAULT_MARKS):
    return plan(here, Policies(default=policy, marks=marks), frozenset(before), now)


def unlinked(step):
    return step.purge_now or step.kind is ActionKind.PURGE


def taken(here, decided):
    """*here* once every step of *decided* was taken, and its bytes and inodes came free."""
    gone = {step.path for step in decided.actions if step.checkpoint}
    purged = {step.item.id for step in decided.actions if step.item}
    freed = [step for step in decided.actions if unlinked(step)]
    lost = Counter(f.key for step in freed if step.checkpoint for f in step.checkpoint.linked)
    return replace(
        here,
        runs=tuple(
            replace(
                r,
                checkpoints=tuple(
                    _fewer_names(c, lost) for c in r.checkpoints if c.path not in gone
                ),
            )
            for r in here.runs
        ),
        filesystems=tuple(_freed(fs, freed) for fs in here.filesystems),
        trash=tuple(item for item in here.trash if item.id not in purged),
    )


def _fewer_names(checkpoint, lost):
    """*checkpoint* once its files have *lost* so many names; its own may be the last."""
    left = [replace(f, links=f.links - lost[f.key]) for f in checkpoint.linked]
    own = sum(f.bytes for f in left if f.links == 1)
    linked = tuple(f for f in left if f.links > 1)
    return replace(checkpoint, shared=checkpoint.shared - own, linked=linked)


def _freed(filesystem, steps):
    """*filesystem* with what *steps* free there; what goes to the trash frees nothing.

    By chance a quota has fewer bytes in use than its runs hold: then below 0.
    """
    size = inodes = 0
    names = Counter()
    for step in steps:
        subject = step.checkpoint or step.item
        run_, place = (
            (step.run.path, step.run.filesystem)
            if step.run
            else (
                step.item.run,
                step.item.filesystem,
            )
        )
        if filesystem.bounds(run_, place):
            size += step.bytes - (step.checkpoint.shared if step.checkpoint else 0)
            inodes += subject.inodes
            for file in step.checkpoint.linked if step.checkpoint else ():
                names[file.key] += 1
                size += file.bytes if names[file.key] == file.links else 0
    return replace(
        filesystem,
        used=filesystem.used - size,
        free=filesystem.free + size,
        inodes_free=min(filesystem.inodes_total, filesystem.inodes_free + inodes),
    )


def limited(here, draw):
    """*here* with inodes that lack, a quota and hard links, as *draw* (a Random) will."""
    runs = tuple(
        replace(
            r,
            checkpoints=tuple(
                replace(
                    c,
                    inodes=draw.choice([1, 9, 200]),
                    shared=draw.choice([0, 0, 0, c.bytes // 2, c.bytes]),
                )
                for c in r.checkpoints
            ),
        )
        for r in here.runs
    )
    runs = tuple(linking(r, number, draw) for number, r in enumerate(runs))
    disks = [
        replace(fs, inodes_total=2000, inodes_free=draw.choice([0, 50, 500, 1500]))
        for fs in here.filesystems
    ]
    bounded = [r.path for r in runs if draw.random() < 0.4]
    if bounded and draw.random() < 0.6:
        quota = disk(draw.choice([50, 88, 99]), 20 * GIB, limit="quota of user 7")
        disks.append(replace(quota, runs=frozenset(bounded)))
    return replace(here, runs=runs, filesystems=tuple(disks))


def linking(run_, number, draw):
    """*run_*, some of whose saves share a file; now and then somebody else has it as well."""
    there = list(run_.checkpoints)
    sharers = draw.sample(range(len(there)), draw.choice([0, 0, min(2, len(there)), len(there)]))
    links = len(sharers) + draw.choice([0, 0, 1])
    if links < 2:
        return run_
    size = min(there[at].bytes for at in sharers) // draw.choice([1, 2, 100])
    file = Linked(1, number, size, 1, links)
    for at in sharers:
        there[at] = replace(there[at], shared=size, linked=(file,))
    return replace(run_, checkpoints=tuple(there))


bounded_worlds = st.tuples(worlds, st.randoms(use_true_random=False)).map(
    lambda drawn: limited(drawn[0], drawn[1])
)


# --- what was promised comes -------------------------------------------------------------


@MANY
@given(bounded_worlds, policies, befores)
def test_no_demand_is_left_after_a_plan_that_met_it(here, policy, before):
    first = made(here, policy, before)
    again = made(taken(here, first), policy, first.relieving)

    for was, now_ in zip(first.filesystems, again.filesystems, strict=True):
        assert was.shortfall or not now_.shortfall
        assert was.inodes_shortfall or not now_.inodes_shortfall
    named = {
        v.checkpoint.path for v in first.verdicts for r in v.reasons if r.rule == "recorded_best"
    }
    fresh = [step for step in again.actions if step.pressed and step.path not in named]
    assert fresh == []


@MANY
@given(bounded_worlds, policies, befores)
def test_a_step_is_taken_once_and_never_of_what_is_held_or_firm(here, policy, before):
    decided = made(here, policy, before)
    steps = [step.item.id if step.item else step.path for step in decided.actions]
    fast = {
        v.checkpoint.path for v in decided.verdicts if v.standing in (Standing.HELD, Standing.FIRM)
    }

    assert len(steps) == len(set(steps))
    assert not fast & {step.path for step in decided.actions if step.checkpoint}


@MANY
@given(bounded_worlds, policies, befores)
def test_a_limit_takes_only_of_the_runs_that_it_bounds(here, policy, before):
    roomy = replace(
        here,
        filesystems=tuple(fs if fs.limit else disk(10, path=fs.path) for fs in here.filesystems),
    )
    bounded = {path for fs in here.filesystems for path in fs.runs}

    for step in made(roomy, policy, before).actions:
        if step.pressed:
            assert (step.run.path if step.run else step.item.run) in bounded


@MANY
@given(bounded_worlds, policies, befores, st.integers(0, 60), st.integers(0, 60))
def test_more_reserve_never_takes_less(here, policy, before, one, other):
    little, much = sorted((one * GIB, other * GIB))

    def gone(reserve):
        decided = made(here, policy, before, marks=Marks(reserve=reserve))
        return {step.item.id if step.item else step.path for step in decided.actions}

    assert gone(little) <= gone(much)


@MANY
@given(bounded_worlds, policies, befores)
def test_a_live_run_loses_a_soft_one_only_when_finished_ones_have_none_left(here, policy, before):
    decided = made(here, policy, before)
    soft = [
        (p.run, v)
        for p in decided.runs
        for v in p.verdicts
        if v.standing is Standing.SOFT and v.checkpoint.frees > 0.01 * v.checkpoint.bytes
    ]
    for place in {p.run.filesystem for p in decided.runs}:
        if any(fs.limit for fs in here.filesystems):
            continue  # a quota takes of its own runs alone, whether they are finished or not
        here_ = [(r, v) for r, v in soft if r.filesystem == place]
        spared = [v for r, v in here_ if r.finished and v.action is ActionKind.KEEP]
        live = [v for r, v in here_ if not r.finished and v.action is not ActionKind.KEEP]
        assert not (spared and live)


# --- a simulated week --------------------------------------------------------------------


class Week:
    """Runs that save at a rhythm and a neighbour that grows; a plan is made at each event."""

    def __init__(self, draw):
        self.draw = draw
        self.runs = [
            {
                "path": f"/data/{number}",
                "every": draw.choice([3600, 14_400, 43_200]) * draw.uniform(0.9, 1.1),
                "size": draw.choice([1, 2, 5]) * GIB,
                "ends": draw.choice([2, 7, 7]) * 86_400,
                "first": draw.uniform(0, 7200),
            }
            for number in range(draw.randint(1, 3))
        ]
        self.total = draw.choice([60, 100, 200]) * GIB
        self.others = int(self.total * draw.uniform(0.0, 0.5))
        self.saves = {r["path"]: [] for r in self.runs}
        self.history = {r["path"]: [] for r in self.runs}
        self.relieving = frozenset()

    def events(self):
        """Seconds since the beginning, and whose save it is; None: looks with nothing new."""
        found = [
            (at, r)
            for r in self.runs
            for n in range(int((r["ends"] - r["first"]) / r["every"]))
            if (at := r["first"] + n * r["every"]) < r["ends"]
        ]
        looks = [(self.draw.uniform(0, 7 * 86_400), None) for _ in range(50)]
        return sorted([*found, *looks], key=lambda event: event[0])

    def used(self):
        return self.others + sum(c.bytes for saves in self.saves.values() for c in saves)

    def world(self, at):
        now = NOW + timedelta(seconds=at)
        runs = []
        for r in self.runs:
            aged = [
                replace(c, age=(now - c.saved_at).total_seconds()) for c in self.saves[r["path"]]
            ]
            since = aged[-1].age if aged else 0.0
            over = since > max(86_400, 3 * r["every"])
            there = run(*aged, path=r["path"], live=at < r["ends"], finished=over)
            runs.append(replace(there, saves=tuple(self.history[r["path"]][-20:])))
        used = min(self.used(), self.total)
        there = replace(disk(0, self.total), used=used, free=self.total - used)
        return World(runs=tuple(r for r in runs if r.checkpoints), filesystems=(there,))

    def save(self, at, r):
        saved_at = NOW + timedelta(seconds=at)
        step = len(self.history[r["path"]]) + 1
        another = ck(step, saved_at=saved_at, bytes=r["size"], age=0.0)
        self.saves[r["path"]].append(replace(another, path=f"{r['path']}/{another.name}"))
        history = self.history[r["path"]]
        history.append(
            replace(saves_of([ck(step, bytes=r["size"])])[0], saved_at=saved_at.timestamp())
        )

    def plan(self, at, policy):
        decided = made(self.world(at), policy, self.relieving, NOW + timedelta(seconds=at))
        gone = {step.path for step in decided.actions}
        for path, saves in self.saves.items():
            self.saves[path] = [c for c in saves if f"{path}/{c.name}" not in gone]
        self.relieving = decided.relieving
        return decided


POLICIES = [
    Policy(trash_for=0),
    Policy(rules=(KeepLast(9),), firm=(KeepLast(1),), trash_for=0),
    Policy(max_size=20 * GIB, trash_for=0),
]


@pytest.mark.parametrize("policy", POLICIES, ids=["defaults", "nine", "max_size"])
@WEEKS
@given(seed=st.integers(0, 2**32))
def test_in_a_week_nothing_goes_unless_something_came(policy, seed):
    """And each plan makes room enough until more is written: the next one finds nothing to do."""
    week = Week(Random(seed))
    state = "ok"
    for at, r in week.events():
        if r is not None:
            week.save(at, r)
        first = week.plan(at, policy)
        if r is None:
            assert not first.actions, "nothing came, but time passed"
            assert first.filesystems[0].state == state
        assert week.used() <= week.total or first.filesystems[0].shortfall
        again = week.plan(at, policy)
        assert not again.actions
        third = week.plan(at + 1, policy)
        assert not third.actions
        assert third.filesystems[0].state == again.filesystems[0].state
        state = third.filesystems[0].state
