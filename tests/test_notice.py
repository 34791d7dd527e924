"""What is told: once when it begins, and remembered no longer than it holds."""

from dataclasses import replace

from builders import GIB, ck, disk, lost, plan_of, run, series, world
from corpus import write_checkpoint
from house import ckptd

from ckptd.audit import event
from ckptd.model import Obstacle, Unreadable
from ckptd.notice import Notices, fact
from ckptd.policy import Policies, Policy

POLICIES = Policies(default=Policy(max_size=GIB))


def test_what_recurs_at_every_look_is_told_once(tmp_path):
    write_checkpoint(tmp_path / "out", 5)
    told = []
    with ckptd(tmp_path / "state", tmp_path / "out", told=told) as daemon:
        for _ in range(3):
            daemon.cycle()  # nothing listens for events, so directories are polled
    assert [record.event for record in told] == ["unreadable"]


def test_what_cannot_be_read_is_told_when_it_begins_and_when_it_comes_back():
    notices, lost = Notices(), world(unreadable=(Unreadable("/data/a", "permission denied"),))
    told = [[r.run for r in notices.of_world(w)] for w in (lost, lost, world(), lost)]
    assert told == [["/data/a"], [], [], ["/data/a"]]


def test_where_nobody_answers_is_told_once_and_what_lies_there_is_no_news_when_it_is_back():
    notices, there = Notices(), world(run(*series(1, 2)))
    silent = Unreadable(there.runs[0].path, "has not answered since", unanswered=True)
    away = world(unreadable=(silent,))
    told = [[r.event for r in notices.of_world(w)] for w in (world(), there, away, away, there)]
    assert told == [[], ["recognised"] * 2, ["unreadable"], [], ["watch"]]
    assert len(list(notices.saves(there))) == 2
    list(notices.of_world(away))
    assert [list(notices.saves(seen)) for seen in (away, there)] == [[], []]


def test_saves_that_are_gone_are_not_remembered():
    notices = Notices()
    for step in range(100):
        list(notices.saves(world(run(*series(step)))))
    assert len(notices.handed) == 1
    assert notices.said == set()


def test_two_checkpoints_of_one_run_are_two_facts():
    notices, record = Notices(), fact("refuse", "/data/a", "not whole")
    assert notices.is_news(replace(record, checkpoint="/data/a/checkpoint-1"))
    assert notices.is_news(replace(record, checkpoint="/data/a/checkpoint-2"))
    assert not notices.is_news(replace(record, checkpoint="/data/a/checkpoint-2"))


def test_a_run_that_may_not_become_as_small_as_its_max_size_is_told_once():
    notices, policy = Notices(), Policy(max_size=GIB)
    large, small = (plan_of(world(run(*series(*steps))), policy) for steps in ((1, 2, 3), (1,)))
    told = [
        [(r.event, r.rule, r.bytes) for r in notices.of_policies(POLICIES, plan, acts=True)]
        for plan in (large, large, small, large)
    ]
    assert told == [[("shortfall", "max_size", GIB)], [], [], [("shortfall", "max_size", GIB)]]


def test_a_mark_that_is_passed_is_told_and_that_it_is_past():
    notices = Notices()
    told = [
        [r.event for r in notices.of_plan(plan_of(world(run(*series(1, 2, 3)), used=used)))]
        for used in (50, 86, 90, 50, 86)
    ]
    assert told == [[], ["pressure", "shortfall"], [], ["relieved"], ["pressure", "shortfall"]]


def test_a_disk_that_will_be_full_although_all_goes_is_an_alarm_a_day_before():
    wild = run(*series(1, 2, every="1h"), adopted=False)
    told = [
        [(r.event, r.reason) for r in Notices().of_plan(plan_of(world(wild, used=used)))]
        for used in (50, 84)
    ]
    assert [[event for event, _ in each] for each in told] == [["watch"], ["watch", "shortfall"]]
    assert told[1][1][1].startswith("at this rate full in 15 h, although all that may go will have")


def test_what_befell_the_ledger_is_told(tmp_path):
    write_checkpoint(tmp_path / "out", 5)
    with ckptd(tmp_path / "state", tmp_path / "out"):
        pass
    (tmp_path / "state" / "ledger.db").write_bytes(b"\xff" * 8192)
    told = []
    with ckptd(tmp_path / "state", tmp_path / "out", told=told) as daemon:
        daemon.settle(0)
        daemon.settle(0)
    (record,) = [record for record in told if record.event == "ledger"]
    assert "set aside" in record.reason


# --- disks -------------------------------------------------------------------------------


def of_disks(plan):
    return {r.event: r.reason for r in Notices().of_plan(plan) if r.rule != "watch"}


def test_a_shortfall_tells_the_fact_the_consequence_and_the_way_out():
    wild = run(*series(7, 8), path="/data/wild", adopted=False)
    plan = plan_of(world(run(*series(1, 2, 3)), wild, used=96))
    way = Obstacle("/data/merged", 40 * GIB, "no checkpoint that ckptd knows")
    (need,) = plan.filesystems

    told = of_disks(replace(plan, filesystems=(replace(need, in_the_way=(way,)),)))

    assert told["pressure"] == "it is 96.0 % used; 16.0 GiB must come free"
    assert told["shortfall"] == (
        "it is 96.0 % used; 15.0 GiB more must come free than ckptd may let go;"
        " saves fail once it is full, so free 15.0 GiB by hand;"
        " in the way: /data/merged (40.0 GiB, no checkpoint that ckptd knows);"
        " 2.0 GiB in 1 run not adopted; ckptd adopt PATH puts it under care"
    )


def test_a_shortfall_of_inodes_is_told_in_inodes():
    few = disk(10, inodes_total=1000, inodes_free=50)

    told = of_disks(plan_of(world(run(*series(1, 2)), filesystems=(few,))))

    assert told["shortfall"].startswith("it has 50 of 1000 inodes free; 150 inodes more must come")


def test_what_cannot_be_put_off_is_told_a_day_before():
    plan = plan_of(world(run(*series(1, 2)), filesystems=(disk(50, grows=2.0**20),)))

    assert of_disks(plan) == {
        "shortfall": (
            "at this rate full in 14 h, although all that may go will have gone; saves then fail;"
            " free room by hand, or let more go: fewer pins, a smaller [policy.pressure]"
        )
    }


# --- divergence --------------------------------------------------------------------------

HEALTHY = (ck(10, age="3h"), ck(20, age="2h"))


def told(notices, *checkpoints, **fields):
    plan = plan_of(world(run(*checkpoints, **fields)))
    return [record for record in notices.of_plan(plan) if record.event == "diverged"]


def test_a_divergence_is_told_once_with_the_last_healthy_one_and_the_way_out():
    notices, diverged = Notices(), [ck(30, age="1h", divergence=lost(25))]

    (record,) = told(notices, *HEALTHY, *diverged)
    assert record.checkpoint == "/data/a/checkpoint-30"
    assert record.rule == "diverged"
    assert record.reason == (
        "the training has diverged: grad_norm is nan since step 25;"
        " checkpoint-20 is the last healthy checkpoint and is held;"
        " stop the training and resume from it (resume_from_checkpoint=/data/a/checkpoint-20)"
    )
    assert event(record)["priority"] == 3
    again = [*diverged, ck(40, age="30min", divergence=lost(25))]
    assert told(notices, *HEALTHY, *again) == []


def test_a_divergence_that_comes_again_is_told_again():
    notices = Notices()
    assert told(notices, *HEALTHY, ck(30, age="1h", divergence=lost(25)))
    assert not told(notices, *HEALTHY, ck(30, age="1h"))
    assert told(notices, *HEALTHY, ck(30, age="1h", divergence=lost(25)))
    assert told(notices, *HEALTHY, ck(50, age="1min", divergence=lost(45)))


def test_neither_a_suspicion_nor_what_ended_long_ago_is_told():
    assert not told(Notices(), *HEALTHY, ck(30, age="1h", divergence=lost(25, proven=False)))
    diverged = ck(30, age="1h", divergence=lost(25))
    assert not told(Notices(), *HEALTHY, diverged, finished=True)


def test_where_no_healthy_one_is_left_it_says_so():
    (record,) = told(Notices(), ck(30, age="1h", divergence=lost(25, what="a\x1b[2Jb")))
    assert "no healthy checkpoint is left" in record.reason
    assert record.reason.isprintable()
