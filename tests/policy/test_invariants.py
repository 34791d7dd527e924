"""What holds in every world: each invariant of the design, against invented worlds."""

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from builders import GIB, NOW, ck
from builders import lost as a_loss
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from worlds import PLACES, befores, policies, roomy, rules, with_used, worlds

from ckptd.model import ActionKind, Health, Standing, TrashItem
from ckptd.policy import (
    KeepBest,
    KeepLast,
    KeepPeriods,
    KeepWithin,
    Marks,
    Policies,
    Policy,
    plan,
)
from ckptd.policy.pressure import demand
from ckptd.units import Span

# Two hundred worlds, several plans each, on a machine that others use as well.
pytestmark = pytest.mark.timeout(300)
LAWS = settings(derandomize=True, max_examples=200, deadline=None, database=None)
TAKEN = {ActionKind.EVICT, ActionKind.SET_ASIDE}


def made(world, policy, before=frozenset()):
    return plan(world, Policies(default=policy), before, NOW)


def taken(plan):
    """What *plan* takes: paths of checkpoints and ids of trash."""
    return {action.item.id if action.item else action.path for action in plan.actions}


def lost(plan):
    return {verdict.checkpoint.path for verdict in plan.verdicts if verdict.action in TAKEN}


def newest_complete(there):
    """By its own count, not the policy's: the last complete save that is not from the future."""
    present = [
        c for c in there.checkpoints if c.complete and (c.saved_at - NOW).total_seconds() <= 60
    ]
    return max(present, key=lambda c: c.order, default=None)


# --- verdicts ----------------------------------------------------------------------------


@LAWS
@given(worlds, policies, befores)
def test_every_checkpoint_has_one_verdict_with_a_reason(world, policy, before):
    made_plan = made(world, policy, before)

    assert Counter(v.checkpoint.path for v in made_plan.verdicts) == Counter(
        c.path for there in world.runs for c in there.checkpoints
    )
    assert all(v.reasons and all(r.text and r.rule for r in v.reasons) for v in made_plan.verdicts)
    assert all(a.reasons for a in made_plan.actions)


@LAWS
@given(worlds, policies, befores)
def test_verdicts_and_actions_agree(world, policy, before):
    made_plan = made(world, policy, before)
    steps = {a.path: (a.kind, a.reasons) for a in made_plan.actions if a.checkpoint}

    assert steps == {
        v.checkpoint.path: (v.action, v.reasons)
        for v in made_plan.verdicts
        if v.action is not ActionKind.KEEP
    }
    assert len(taken(made_plan)) == len(made_plan.actions)


@LAWS
@given(worlds, policies, befores)
def test_held_and_firm_ones_are_never_acted_on(world, policy, before):
    for verdict in made(world, policy, before).verdicts:
        if verdict.standing in {Standing.HELD, Standing.FIRM}:
            assert verdict.action is ActionKind.KEEP
            assert any(reason.keeps for reason in verdict.reasons)


@LAWS
@given(worlds, policies, befores)
def test_what_is_let_go_is_complete_or_broken_and_nobody_touches_it(world, policy, before):
    for verdict in made(world, policy, before).verdicts:
        if verdict.action in TAKEN:
            gone = verdict.checkpoint
            assert (gone.pinned, gone.uses, gone.foreign) == (False, (), ())
            assert verdict.action == (
                ActionKind.EVICT if gone.health is Health.COMPLETE else ActionKind.SET_ASIDE
            )
            assert gone.health in {Health.COMPLETE, Health.BROKEN}
            assert gone.age >= policy.min_age


@LAWS
@given(worlds, policies, befores)
def test_a_run_not_adopted_or_not_trusted_loses_nothing(world, policy, before):
    wild = {r.path for r in world.runs if not (r.adopted and r.trusted)}

    steps = made(world, policy, before).actions

    assert not [a for a in steps if a.run and a.run.path in wild]


@LAWS
@given(worlds, policies, befores)
def test_the_newest_intact_and_the_highest_step_survive_any_demand(world, policy, before):
    gone = lost(made(with_used(world, 100), policy, before))

    for there in world.runs:
        steps = [c.step for c in there.complete if c.step is not None]
        highest = {c.path for c in there.complete if steps and c.step == max(steps)}
        newest = newest_complete(there)
        assert not highest & gone
        assert newest is None or newest.path not in gone
        assert not there.complete or not {c.path for c in there.complete} <= gone


@LAWS
@given(worlds, policies, befores)
def test_whole_weights_newer_than_the_newest_complete_are_never_unlinked(world, policy, before):
    newest = {there.path: newest_complete(there) for there in world.runs}

    for step in made(with_used(world, 100), policy, before).actions:
        wreck = step.item or step.checkpoint
        place = step.item.run if step.item else step.run.path
        reference = newest.get(place)
        litter = step.kind is ActionKind.SET_ASIDE or (
            step.item and step.item.action is ActionKind.SET_ASIDE
        )
        if (
            litter
            and wreck.weights_whole
            and (not reference or wreck.saved_at > reference.saved_at)
        ):
            assert step.kind is ActionKind.SET_ASIDE
            assert not step.purge_now


@LAWS
@given(worlds, policies, befores)
def test_the_newest_healthy_one_survives_where_the_newest_or_the_highest_is_not(
    world, policy, before
):
    gone = lost(made(with_used(world, 100), policy, before))

    for there in world.runs:
        present = [c for c in there.complete if (c.saved_at - NOW).total_seconds() <= 60]
        healthy = [c for c in present if c.divergence is None]
        if healthy and present[-1].divergence:
            assert healthy[-1].path not in gone
            before_it = [c for c in healthy if c.step is not None]
            before_it = [c for c in before_it if c.step < present[-1].divergence.since]
            highest = max((c.step for c in before_it), default=None)
            tops = {c.path for c in before_it if c.step == highest}
            assert not tops or not tops <= gone


@LAWS
@given(roomy, policies, st.integers(0, 7))
def test_a_divergence_of_the_last_saves_costs_no_healthy_one(world, policy, count):
    """But for a best that only the state of a diverged one had named."""

    def with_divergence(there, what):
        few = len(there.checkpoints) - count
        marked = (
            replace(c, divergence=what if n >= few else None)
            for n, c in enumerate(there.checkpoints)
        )
        return replace(there, checkpoints=tuple(marked), trainer_limit=None)

    well = replace(world, runs=tuple(with_divergence(r, None) for r in world.runs))
    ill = replace(world, runs=tuple(with_divergence(r, a_loss(5)) for r in world.runs))
    before, after_it = made(well, policy), made(ill, policy)
    named = {
        v.checkpoint.path for v in before.verdicts for r in v.reasons if r.rule == "recorded_best"
    }
    marked = {c.path for r in ill.runs for c in r.checkpoints if c.divergence}

    assert lost(after_it) - marked - named <= lost(before)


# --- room --------------------------------------------------------------------------------


@LAWS
@given(roomy, policies)
def test_without_a_rule_and_without_demand_nothing_complete_goes(world, policy):
    made_plan = made(world, replace(policy, rules=(), firm=(), finished=None))

    assert {a.kind for a in made_plan.actions} <= {ActionKind.SET_ASIDE, ActionKind.PURGE}
    assert {v.checkpoint.health for v in made_plan.verdicts if v.action in TAKEN} <= {Health.BROKEN}


@LAWS
@given(roomy)
def test_with_the_defaults_and_room_nothing_complete_goes(world):
    assert ActionKind.EVICT not in {a.kind for a in made(world, Policy()).actions}


@LAWS
@given(roomy, policies, st.data())
def test_what_is_no_intact_save_of_the_past_takes_no_slot(world, policy, data):
    """Adding one changes nothing for the others, but that an open save holds them all."""
    there = next((r for r in world.runs if len(r.complete) > 1), None)
    assume(there)
    there = replace(there, trainer_limit=None)
    world = replace(world, runs=(there, *[r for r in world.runs if r.path != there.path]))
    health = data.draw(st.sampled_from(["broken", "unproven", "complete"]), label="health")
    # Of a complete one from the future everything is unknown, but resuming takes its step.
    extra = ck(None, age="-2d" if health == "complete" else 0, health=health, name="checkpoint-x")
    more = replace(
        there,
        checkpoints=tuple(
            sorted(
                (*there.checkpoints, replace(extra, path=f"{there.path}/{extra.name}")),
                key=lambda c: c.order,
            )
        ),
    )

    gone = lost(made(world, policy))
    gone_with_it = lost(made(replace(world, runs=(more, *world.runs[1:])), policy))

    assert gone_with_it - {f"{there.path}/checkpoint-x"} == gone


def with_rule(policy, level, rule):
    """*policy* with one more rule at a level, of runs under way and of those that are over."""
    over = policy.finished
    if over:
        over = replace(over, **{level: (*getattr(over, level), rule)})
    return replace(policy, finished=over, **{level: (*getattr(policy, level), rule)})


# --- monotone ----------------------------------------------------------------------------


@LAWS
@given(roomy, policies, rules, st.sampled_from(["rules", "firm"]))
def test_one_more_rule_costs_no_kept_checkpoint(world, policy, rule, level):
    assume(policy.rules)  # without any rule all is kept: the first one is a wish to let go
    assume(not policy.finished or policy.finished.rules)

    assert lost(made(world, with_rule(policy, level, rule))) <= lost(made(world, policy))


COUNTED = [
    KeepLast,
    *(partial(KeepPeriods, each) for each in ("hourly", "daily", "weekly", "monthly", "yearly")),
]
SPANS = [Span(seconds=1800), Span(seconds=7200), Span(days=1), Span(days=20), Span(months=2)]


@LAWS
@given(worlds, policies, st.integers(1, 4), st.integers(1, 4), st.sampled_from(["rules", "firm"]))
def test_a_higher_count_costs_no_kept_checkpoint(world, policy, count, extra, level):
    # So much demand that all goes that may: with less, what becomes firm costs the next one.
    world = with_used(world, *((100, 10**6 * GIB) if level == "firm" else (50, 100 * GIB)))
    for build in (*COUNTED, KeepBest):
        few = lost(made(world, with_rule(policy, level, build(count))))
        assert lost(made(world, with_rule(policy, level, build(count + extra)))) <= few
        if build is not KeepBest:
            assert lost(made(world, with_rule(policy, level, build(None)))) <= few


@LAWS
@given(worlds, policies, st.sampled_from(["rules", "firm"]))
def test_a_longer_span_costs_no_kept_checkpoint(world, policy, level):
    world = with_used(world, *((100, 10**6 * GIB) if level == "firm" else (50, 100 * GIB)))

    gone = [lost(made(world, with_rule(policy, level, KeepWithin(span)))) for span in SPANS]

    assert all(longer <= shorter for shorter, longer in pairwise(gone))


@LAWS
@given(worlds, policies, rules)
def test_one_more_firm_rule_makes_nothing_less_firm(world, policy, rule):
    full = with_used(world, 100, total=10**6 * GIB)

    assert lost(made(full, with_rule(policy, "firm", rule))) <= lost(made(full, policy))


@LAWS
@given(worlds, policies, st.integers(0, 100), st.integers(0, 100), befores)
def test_more_demand_spares_nothing_that_less_demand_took(world, policy, one, other, before):
    little, much = sorted((one, other))

    less = taken(made(with_used(world, little), policy, before))

    assert less <= taken(made(with_used(world, much), policy, before))


@LAWS
@given(worlds, policies, befores)
def test_any_hold_wins_over_any_demand(world, policy, before):
    full = with_used(world, 100)
    for path in lost(made(full, policy, before)):
        pinned = tuple(
            replace(
                there,
                checkpoints=tuple(
                    replace(c, pinned=c.pinned or c.path == path) for c in there.checkpoints
                ),
            )
            for there in full.runs
        )
        assert path not in lost(made(replace(full, runs=pinned), policy, before))


# --- demand ------------------------------------------------------------------------------


@LAWS
@given(worlds, policies, befores)
def test_a_shortfall_means_that_all_that_may_go_went(world, policy, before):
    made_plan = made(world, policy, before)
    short = {r.filesystem.path: r.shortfall for r in made_plan.filesystems}

    left = [
        (run_plan.run.filesystem, v)
        for run_plan in made_plan.runs
        for v in run_plan.verdicts
        if v.action is ActionKind.KEEP and v.standing in {Standing.SOFT, Standing.SURPLUS}
    ]
    assert not [v for place, v in left if short.get(place)]
    for relief in made_plan.filesystems:
        at_once = [
            a.bytes
            for a in made_plan.actions
            if a.filesystem == relief.filesystem.path and (a.purge_now or a.item)
        ]
        assert relief.shortfall == max(0, needed(world, relief) - sum(at_once))


def needed(world, relief):
    """What may not lack, however much more is asked for in case that saves grow."""
    marked = demand(relief.filesystem, Marks(), before=relief.relieving)
    return max(marked.demand, relief.coming - relief.filesystem.free)


@LAWS
@given(worlds, policies, befores)
def test_no_soft_one_goes_once_the_demand_is_met(world, policy, before):
    made_plan = made(world, policy, before)
    for relief in made_plan.filesystems:
        here = [a for a in made_plan.actions if a.filesystem == relief.filesystem.path]
        gained = 0
        for action in here:
            if any(reason.rule == "pressure" for reason in action.reasons):
                assert gained < relief.demand
            gained += action.bytes if action.purge_now or action.item else 0


# --- again -------------------------------------------------------------------------------


def after(world, made_plan):
    """*world* once every action of *made_plan* was done."""
    gone = {a.path for a in made_plan.actions if a.checkpoint}
    purged = {a.item.id for a in made_plan.actions if a.item}
    moved = tuple(
        TrashItem(
            id=f"new-{number}",
            place=a.filesystem,
            uid=a.checkpoint.uid,
            run=a.run.path,
            name=a.checkpoint.name,
            step=a.checkpoint.step,
            bytes=a.bytes,
            saved_at=a.checkpoint.saved_at,
            trashed_at=NOW,
            action=a.kind,
            weights_whole=a.checkpoint.weights_whole,
            filesystem=a.filesystem,
        )
        for number, a in enumerate(made_plan.actions)
        if a.checkpoint and not a.purge_now
    )
    return replace(
        world,
        runs=tuple(
            replace(r, checkpoints=tuple(c for c in r.checkpoints if c.path not in gone))
            for r in world.runs
        ),
        trash=(*(i for i in world.trash if i.id not in purged), *moved),
    )


@LAWS
@given(roomy, policies)
def test_planning_again_after_executing_does_nothing(world, policy):
    first = made(world, policy)

    assert taken(made(after(world, first), policy)) == set()


@LAWS
@given(worlds, policies, befores)
def test_planning_again_once_there_is_room_does_nothing(world, policy, before):
    """But for a best that only the state of one that went had named: it is free now."""
    first = made(world, policy, before)
    named = {
        v.checkpoint.path for v in first.verdicts for r in v.reasons if r.rule == "recorded_best"
    }

    again = taken(made(with_used(after(world, first), 50), policy))

    assert again <= named


@LAWS
@given(worlds, policies, befores, st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(world, policy, before, random):
    def shuffled(values):
        return tuple(random.sample(values, len(values)))

    mixed = replace(
        world,
        runs=shuffled(world.runs),
        filesystems=shuffled(world.filesystems),
        trash=shuffled(world.trash),
    )

    one, other = made(world, policy, before), made(mixed, policy, before)

    assert {v.checkpoint.path: v for v in one.verdicts} == {
        v.checkpoint.path: v for v in other.verdicts
    }
    for place in PLACES:
        here = [a for a in one.actions if a.filesystem == place]
        assert here == [a for a in other.actions if a.filesystem == place]
    assert {r.filesystem.path: r for r in one.filesystems} == {
        r.filesystem.path: r for r in other.filesystems
    }
