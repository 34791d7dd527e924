"""What checkpoints that share files by hard links hold and free, alone and together."""

from dataclasses import replace
from math import inf

import pytest
from builders import GIB, NOW, ck, plan_of, run, series, world

from ckptd.model import Linked
from ckptd.policy import KeepLast, Policy, judge_run
from ckptd.policy.links import Holding, Links, Sharers, freed_together
from ckptd.policy.relief import ranked, soft_bytes

KIB = 2**10
SOFT = Policy(rules=(KeepLast(None),), firm=(KeepLast(1),))


def linking(checkpoint, *files):
    return replace(checkpoint, linked=files, shared=sum(file.bytes for file in files))


def file(number, links, size=GIB):
    """A file with one name here and *links* in all."""
    return Linked(1, number, size, 1, links)


def base_in_all(*saves, own=GIB // 50, elsewhere=1):
    """Every save links the frozen weights, which lie *elsewhere* as well, and adds its *own*."""
    frozen = file(7, len(saves) + elsewhere)
    return [replace(linking(c, frozen), bytes=GIB + own) for c in saves]


def pairs(*saves):
    """Each second save links all weights of the one before it."""
    return [linking(c, file(at // 2, 2, GIB - 8 * KIB)) for at, c in enumerate(saves)]


def in_turn(*checkpoints):
    judged = [judge_run(run(*checkpoints), SOFT, NOW, demand=True)]
    return list(ranked(judged)), soft_bytes(judged)


# --- alone and together ------------------------------------------------------------------


def test_a_file_comes_free_with_its_last_name():
    first, second = (linking(ck(step), file(1, 2)) for step in (1, 2))
    links = Links([first, second])
    assert links.frees(first) == 0
    links.take(first)
    assert links.frees(second) == GIB


def test_a_file_that_somebody_else_has_never_comes_free():
    first, second = (linking(ck(step), file(1, 3)) for step in (1, 2))
    links = Links([first, second])
    links.take(first)
    assert (links.frees(second), links.share(second)) == (0, 0)


def test_what_they_free_together_is_shared_among_those_that_hold_it():
    saves = [linking(ck(step), file(1, 4)) for step in (1, 2, 3, 4)]
    links = Links(saves)
    assert links.share(saves[0]) == GIB // 4
    links.take(saves[0])
    assert links.share(saves[1]) == GIB // 3
    assert freed_together(saves) == GIB


def test_two_names_in_one_checkpoint_are_no_names_elsewhere():
    twice = linking(ck(1), Linked(1, 1, GIB, 2, 3))
    once = linking(ck(2), file(1, 3))
    links = Links([twice, once])
    links.take(twice)
    assert links.frees(once) == GIB


def test_a_file_that_several_hold_counts_once():
    first, second, alone = linking(ck(1), file(1, 2)), linking(ck(2), file(1, 2)), ck(3)
    holding = Holding()
    assert [holding.add(c) for c in (first, second, alone)] == [GIB, 0, GIB]
    assert [holding.drop(c) for c in (first, alone, second)] == [0, -GIB, -GIB]
    assert holding.bytes == 0


# --- which go first ----------------------------------------------------------------------


def test_frozen_weights_in_every_save_leave_what_each_adds():
    found, possible = in_turn(*base_in_all(*series(1, 2, 3, 4)))
    assert [c.frees for c in found] == [GIB // 50] * 3
    assert possible == 3 * (GIB // 50)


def test_a_pair_goes_before_another_is_begun():
    found, possible = in_turn(*pairs(*series(1, 2, 3, 4, 5, 6)))
    steps = [c.checkpoint.step for c in found]
    assert [sorted(pair) for pair in (steps[:2], steps[2:4])] == [[1, 2], [3, 4]]
    assert [c.frees for c in found[:4]] == [8 * KIB, GIB] * 2
    assert possible == pytest.approx(2 * (GIB + 8 * KIB), abs=8)


def test_one_whose_partner_stays_is_left_out():
    found, _ = in_turn(*pairs(*series(1, 2, 3, 4, 5, 6)))  # 6 is the newest
    assert [c.checkpoint.step for c in found if c.checkpoint.step > 4] == []


def test_notes_that_two_saves_share_pull_neither_after_the_other():
    saves = list(series(*range(1, 9)))
    shared = [linking(c, file(1, 2, 4 * KIB)) if c.step in (3, 4) else c for c in saves]
    found, _ = in_turn(*shared)
    assert [c.checkpoint.step for c in found] == [1, 5, 7, 3, 2, 6, 4]


def test_of_thousands_that_link_one_file_not_each_is_ranked_anew_for_each():
    many = 4096
    saves = base_in_all(*[ck(1)] * many, elsewhere=0)
    sharers = Sharers()
    for place, save in enumerate(saves):
        sharers.add((0, place), save)
    told = sum(len(sharers.took(save, inf)) for save in saves)
    assert many < told < 16 * many


# --- in a plan ---------------------------------------------------------------------------


def test_a_plan_counts_what_comes_free_together():
    saves = pairs(*[ck(step, age=3600 - step) for step in range(1, 9)])
    plan = plan_of(world(run(*saves), used=86.0))  # 6 GiB to gain, 1 GiB a pair

    assert plan.filesystems[0].shortfall == pytest.approx(3 * GIB, abs=32 * KIB)
    assert len(plan.actions) == 6


def test_the_reason_says_what_it_frees_alone():
    saves = pairs(*[ck(step, age=3600 - step) for step in range(1, 7)])
    plan = plan_of(world(run(*saves), used=85.5))

    first, second, *_ = plan.actions
    assert "frees 8.0 KiB alone;" in first.reasons[0].text
    assert "frees 1.0 GiB;" in second.reasons[0].text


def test_max_size_counts_a_file_once_that_every_save_links():
    saves = base_in_all(*series(1, 2, 3, 4, 5), own=100 * 2**20)
    policy = replace(SOFT, max_size=GIB + 300 * 2**20)
    plan = plan_of(world(run(*saves)), policy)

    kept = [v.checkpoint.step for v in plan.runs[0].verdicts if v.action == "keep"]
    assert len(kept) == 3
