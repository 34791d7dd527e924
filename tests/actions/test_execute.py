"""Plans carried out on real files: what goes, what stays, what is recorded."""

import fcntl
import os
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from corpus import cut, write_checkpoint
from house import ckptd, names, verdicts

from ckptd import beneath, trash
from ckptd.actions import undo
from ckptd.daemon.rhythm import TIMER
from ckptd.policy import plan
from ckptd.watch import Bell, Watcher

LOSSES = {50: 1.9, 100: 1.2, 150: 1.0, 200: 1.4, 250: 1.5}


# What is being written is still so when a machine with much to do gets to look.
SLOW = "2min"


@pytest.fixture
def run(tmp_path):
    """Five intact saves, a minute apart, the best in the middle."""
    for step in LOSSES:
        when = time.time() - 1000 + step
        write_checkpoint(tmp_path / "out", step, history=LOSSES, mtime=when)
    return tmp_path / "out"


def settle(run, **options):
    told = []
    with ckptd(run.parent / "state", run, told=told, **options) as daemon:
        plan, outcomes = daemon.settle(time.monotonic() + 5)
    return plan, outcomes, told


def kept(*steps):
    return {f"checkpoint-{step}" for step in steps}


def snapshot(root):
    return {
        path.relative_to(root): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.lstat().st_ino,
        )
        for path in [root, *root.rglob("*")]
    }


def test_exactly_what_the_policy_names_remains(run):
    _, outcomes, told = settle(run, policy__keep_last=2)

    assert names(run) == kept(150, 200, 250)
    assert [outcome.ok for outcome in outcomes] == [True, True]
    assert [(r.event, r.outcome) for r in told] == [("evict", "done")] * 2
    assert [r.checkpoint for r in told] == [str(run / "checkpoint-50"), str(run / "checkpoint-100")]


def test_settling_again_does_nothing(run):
    settle(run, policy__keep_last=2)
    before = snapshot(run)
    _, outcomes, _ = settle(run, policy__keep_last=2)

    assert outcomes == []
    assert snapshot(run) == before


def test_with_room_and_no_policy_nothing_goes(run):
    _, outcomes, _ = settle(run)

    assert outcomes == []
    assert names(run) == kept(*LOSSES)


def test_observing_touches_nothing(run):
    before = snapshot(run)
    plan, outcomes, _ = settle(run, policy__keep_last=1, mode="observe")

    assert outcomes == []
    assert snapshot(run) == before
    assert plan.reclaim_bytes > 0


def test_a_restored_checkpoint_is_exactly_as_it_was_and_stays(run):
    before = snapshot(run / "checkpoint-50")
    settle(run, policy__keep_last=2)
    with ckptd(run.parent / "state", run) as daemon:
        (item,) = [i for i in trash.below(str(run))[0] if i.name == "checkpoint-50"]
        undo.restore(daemon.ledger, daemon.hands.tell, item, to=None)
    settle(run, policy__keep_last=2)

    assert snapshot(run / "checkpoint-50") == before
    assert "checkpoint-50" in names(run)


def test_trash_for_0s_purges_at_once(run):
    _, outcomes, told = settle(run, policy__keep_last=2, policy__trash_for="0s")

    assert names(run) == kept(150, 200, 250)
    assert all(outcome.freed_bytes > 0 for outcome in outcomes)
    assert [r.event for r in told] == ["evict", "purge"] * 2
    assert trash.items(str(run.parent)) == ()


def test_the_trash_is_purged_once_its_time_is_over(run):
    settle(run, policy__keep_last=2)
    assert len(trash.items(str(run.parent))) == 2
    _, outcomes, _ = settle(run, policy__keep_last=2, policy__trash_for="1ms")

    assert [outcome.action.kind for outcome in outcomes] == ["purge", "purge"]
    assert trash.items(str(run.parent)) == ()


@pytest.mark.parametrize("hold", ["open", "flock", "cwd", "named", "mapped"])
def test_what_a_process_uses_is_held(run, hold):
    victim = run / "checkpoint-50"
    weights = victim / "adapter_model.safetensors"
    programs = {
        "open": f"f=open({str(weights)!r},'rb')",
        "mapped": f"import mmap;f=open({str(weights)!r},'rb');"
        "m=mmap.mmap(f.fileno(),0,access=1);f.close()",
        "flock": f"import os,fcntl;fd=os.open({str(victim)!r},0);fcntl.flock(fd,{fcntl.LOCK_SH})",
        "cwd": f"import os;os.chdir({str(victim)!r})",
        "named": "pass",
    }
    program = f"{programs[hold]};print('held',flush=True);import sys;sys.stdin.read()"
    user = subprocess.Popen(
        [sys.executable, "-c", program, *([str(victim)] if hold == "named" else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        user.stdout.readline()
        plan, _, _ = settle(run, policy__keep_last=2)
        held = next(v for v in plan.verdicts if v.checkpoint.step == 50)
        assert "checkpoint-50" in names(run)
        assert "checkpoint-100" not in names(run)
        assert held.reasons[0].rule == ("named" if hold == "named" else "in_use")
    finally:
        user.communicate(b"")
    settle(run, policy__keep_last=2)
    assert "checkpoint-50" not in names(run)


def test_a_pin_holds(run):
    fd = os.open(run / "checkpoint-50", os.O_RDONLY)
    beneath.pin(fd)
    os.close(fd)
    settle(run, policy__keep_last=2)

    assert names(run) == kept(50, 150, 200, 250)


def test_a_wreck_is_set_aside_and_the_newest_intact_one_stays(run):
    wreck = write_checkpoint(run, 300, state=False, mtime=time.time() - 100)
    cut(wreck / "optimizer.pt", 1000)
    _, _, told = settle(run, policy__keep_last=2)

    assert names(run) == kept(150, 200, 250)
    assert ("set_aside", "done") in [(r.event, r.outcome) for r in told]


def test_the_only_whole_weights_of_a_wreck_outlive_trash_for(run):
    wreck = write_checkpoint(run, 300, state=False, mtime=time.time() - 100)
    cut(wreck / "optimizer.pt", 1000)
    settle(run, policy__trash_for="1ms")
    settle(run, policy__trash_for="1ms")

    (item,) = trash.items(str(run.parent))
    assert item.name == "checkpoint-300"


def test_a_checkpoint_rewritten_since_the_plan_is_refused(run):
    options = {"policy__keep_last": 2, "policy__settle": SLOW}
    with ckptd(run.parent / "state", run, **options) as daemon:
        look = daemon.eyes.look(users=True)
        plan = daemon._decide(look)
        (run / "checkpoint-50" / "adapter_model.safetensors").write_bytes(b"new")
        outcomes = list(daemon.hands.execute(plan))

    assert outcomes[0].refused
    assert not any(outcome.ok for outcome in outcomes), "a save is open, so nothing goes"
    assert names(run) == kept(*LOSSES)


def test_a_checkpoint_replaced_by_a_link_since_the_plan_is_refused(run, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with ckptd(run.parent / "state", run, policy__keep_last=2) as daemon:
        plan = daemon._decide(daemon.eyes.look(users=True))
        (run / "checkpoint-50").rename(tmp_path / "away")
        (run / "checkpoint-50").symlink_to(precious)
        outcomes = list(daemon.hands.execute(plan))

    assert not outcomes[0].ok
    assert (precious / "thesis.txt").read_text() == "years of work"
    assert (run / "checkpoint-50").is_symlink()


def test_a_run_that_is_not_adopted_is_never_touched(run):
    config = run.parent / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{run.parent}"\n[policy]\nkeep_last = 1\n')
    with ckptd(run.parent / "state", config_file=config) as daemon:
        _, outcomes = daemon.settle(time.monotonic() + 5)
        rules = {v.reasons[0].rule for v in verdicts(daemon).values()}

    assert outcomes == []
    assert rules == {"not_adopted"}


def test_a_run_born_under_a_watch_is_adopted_and_stays_so(tmp_path):
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/runs"\n[policy]\nkeep_last = 1\n')
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        daemon.settle(time.monotonic())
        write_checkpoint(tmp_path / "runs" / "new", 5)
        daemon.settle(time.monotonic())
        assert verdicts(daemon)["checkpoint-5"].reasons[0].rule != "not_adopted"
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        assert verdicts(daemon)["checkpoint-5"].reasons[0].rule != "not_adopted"


def test_an_old_run_moved_under_a_watch_is_not_born_there(run, tmp_path):
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/runs"\n[policy]\nkeep_last = 1\n')
    (tmp_path / "runs").mkdir()
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        daemon.settle(time.monotonic())
        run.rename(tmp_path / "runs" / "old")
        daemon.settle(time.monotonic() + 5)

    assert names(tmp_path / "runs" / "old") == kept(*LOSSES)


def test_a_second_ckptd_on_a_watch_stands_by(run):
    with ckptd(run.parent / "state", run, policy__keep_last=3) as first:
        first.settle(time.monotonic())
        with ckptd(run.parent / "state2", run, policy__keep_last=1) as second:
            _, outcomes = second.settle(time.monotonic() + 3)
            assert outcomes == []
            assert second.stood_by


def act_after(run, change, told=None, **options):
    """Plans, lets *change* happen, then carries the plan out."""
    few = {"policy__keep_last": 2, "policy__keep_best": 0, "policy__settle": SLOW}
    options = few | options
    with ckptd(run.parent / "state", run, told=told, **options) as daemon:
        world = daemon.eyes.look(users=True).world
        decided = plan(world, daemon.eyes.settings.policies, frozenset(), datetime.now(UTC))
        assert decided.actions
        change()
        return list(daemon.hands.execute(decided))


@pytest.mark.parametrize("trash_for", ["0s", "1h"])
def test_a_save_that_begins_after_the_plan_keeps_the_others(run, trash_for):
    def begin():
        (run / "checkpoint-300").mkdir()
        (run / "checkpoint-300" / "model.safetensors").write_bytes(b"cut")

    outcomes = act_after(run, begin, policy__trash_for=trash_for)

    assert all(outcome.refused for outcome in outcomes)
    assert names(run) == kept(*LOSSES, 300)


@pytest.mark.parametrize("trash_for", ["0s", "1h"])
def test_a_save_that_is_completed_after_the_plan_begins_a_calm(run, trash_for):
    outcomes = act_after(run, lambda: write_checkpoint(run, 300), policy__trash_for=trash_for)

    assert all(outcome.refused for outcome in outcomes)
    assert names(run) == kept(*LOSSES, 300)


def test_a_refusal_that_time_mends_is_told_as_done(run):
    told = []
    act_after(run, lambda: write_checkpoint(run, 300), told)

    assert {(r.event, r.outcome) for r in told} == {("refuse", "done")}


def test_a_plan_that_takes_long_is_left_for_another_look(run):
    with ckptd(run.parent / "state", run, policy__keep_last=1, policy__keep_best=0) as daemon:
        decided = daemon._decide(daemon.eyes.look(users=True))
        outcomes = list(daemon._act(decided, within=0.0))
        assert len(decided.actions) > len(outcomes) == 1
        assert len(list(daemon._act(decided))) == len(decided.actions)
    assert names(run) == kept(250)


def test_what_stays_in_the_trash_for_good_wakes_nobody(run):
    settle(run, policy__keep_last=2)
    for item in trash.items(str(run.parent)):
        (run.parent / ".ckptd-trash" / str(item.uid) / f"{item.id}.json").unlink()
    with ckptd(run.parent / "new-state", run.parent, policy__trash_for="1ms") as daemon:
        daemon.watcher = Watcher(Bell())
        daemon.watcher.start()
        assert len(daemon.eyes.look(users=False).world.trash) == 2
        assert daemon.cycle() == TIMER
        daemon.watcher.stop()


@pytest.mark.root
def test_where_no_trash_can_be_it_is_unlinked_only_when_asked_for(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: a filesystem of its own")
    alone = tmp_path / "alone"
    alone.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(alone)], check=True)
    try:
        for step in (10, 20):
            write_checkpoint(alone, step, mtime=time.time() - 1000 + step)
        options = {"policy__keep_last": 1, "policy__keep_best": 0}
        told = []
        with ckptd(tmp_path / "state", alone, told=told, **options) as daemon:
            _, (outcome,) = daemon.settle(time.monotonic())
            assert outcome.refused
            assert "--trash-for 0s" in outcome.error
            assert [(r.event, r.outcome) for r in told] == [("refuse", "failed")]
            assert names(alone) == {"checkpoint-10", "checkpoint-20"}
        with ckptd(tmp_path / "state", alone, **options, policy__trash_for="0s") as daemon:
            _, (outcome,) = daemon.settle(time.monotonic())
            assert outcome.ok
            assert names(alone) == {"checkpoint-20"}
    finally:
        subprocess.run(["umount", "--lazy", str(alone)], check=True)


def test_a_purge_that_failed_half_way_is_tried_again(run):
    settle(run, policy__keep_last=2)
    for item in trash.items(str(run.parent)):
        shelf = run.parent / ".ckptd-trash" / str(item.uid)
        (shelf / item.id).rename(shelf / f"{item.id}{trash.PURGING}")
    _, outcomes, _ = settle(run, policy__keep_last=2, policy__trash_for="1ms")

    assert [(outcome.action.kind, outcome.ok) for outcome in outcomes] == [("purge", True)] * 2
    assert list(shelf.iterdir()) == []


def test_a_ckptd_on_a_watch_above_stands_by_where_another_acts(run):
    with ckptd(run.parent / "state", run, policy__keep_last=3) as inner:
        inner.settle(time.monotonic())
        with ckptd(run.parent / "state2", run.parent, policy__keep_last=1) as outer:
            _, outcomes = outer.settle(time.monotonic())
            assert outcomes == []
            assert outer.stood_by
        assert names(run) == kept(150, 200, 250)
    with ckptd(run.parent / "state2", run.parent, policy__keep_last=1) as outer:
        outer.settle(time.monotonic())
    assert names(run) == kept(150, 250)


def test_notes_in_two_checkpoints_do_not_make_each_other_usual(run):
    for step in (50, 100):
        (run / f"checkpoint-{step}" / "notes.txt").write_text("a person's")
    plan, _, _ = settle(run, policy__keep_last=1, policy__keep_best=0)

    assert names(run) >= kept(50, 100)
    assert [v.reasons[0].rule for v in plan.verdicts][:2] == ["foreign", "foreign"]
