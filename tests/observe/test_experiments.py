"""Drop-ins: which of them hold for a run, and what becomes of those that cannot be obeyed."""

import json
import os
import shutil
import time
from datetime import UTC, datetime

import pytest
from corpus import cut, write_checkpoint
from house import ckptd, names, planned, verdicts
from reachable import reachable

from ckptd.daemon.rhythm import until_next
from ckptd.model import Plan
from ckptd.observe.experiments import QUIET

ALICE, BOB = 1500, 1501
STEPS = (10, 20, 30, 40, 50)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")


@pytest.fixture
def run(tmp_path):
    """A run of five saves in an experiment, in a lab."""
    place = tmp_path / "lab" / "experiment" / "run"
    for step in STEPS:
        write_checkpoint(place, step, mtime=time.time() - 1000 + step)
    return place


def drop_in(directory, text, *, mode=0o644, owner=None):
    file = directory / ".ckptd.toml"
    file.write_text(text)
    file.chmod(mode)
    os.utime(file, (time.time() - 100,) * 2)
    if owner is not None:
        os.chown(file, owner, owner)
    return file


def evicted(daemon):
    return sorted(v.checkpoint.step for v in verdicts(daemon).values() if v.action == "evict")


def look_at(run, tmp_path, **options):
    return ckptd(tmp_path / "state", run, policy__keep_best=0, **options)


def test_the_nearest_drop_in_wins_key_by_key(run, tmp_path):
    drop_in(tmp_path / "lab", "[policy]\nkeep_last = 1\nkeep_every_steps = 20\n")
    drop_in(run.parent, "[policy]\nkeep_last = 2\n")
    with look_at(run, tmp_path) as daemon:
        assert evicted(daemon) == [10, 30]
        (plan,) = planned(daemon).runs
        assert plan.run.policy_from[-3:] == (
            str(tmp_path / "lab" / ".ckptd.toml"),
            str(run.parent / ".ckptd.toml"),
            "command line",
        )


def test_a_drop_in_in_the_run_itself_holds(run, tmp_path):
    drop_in(run, "[policy]\nkeep_last = 1\n")
    with look_at(run, tmp_path) as daemon:
        assert evicted(daemon) == [10, 20, 30, 40]


def test_the_command_line_wins_over_a_drop_in(run, tmp_path):
    drop_in(run.parent, "[policy]\nkeep_last = 1\n")
    with look_at(run, tmp_path, policy__keep_last=4) as daemon:
        assert evicted(daemon) == [10]


def test_a_drop_in_adopts_what_lies_below_it(run, tmp_path):
    other = write_checkpoint(tmp_path / "lab" / "other", 10, mtime=time.time() - 500).parent
    drop_in(run.parent, "[policy]\nkeep_last = 1\n")
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/lab"\n')
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        adopted = {p.run.path: p.run.adopted for p in planned(daemon).runs}
    assert adopted == {str(run): True, str(other): False}


def test_a_watch_may_refuse_drop_ins(run, tmp_path):
    drop_in(run.parent, "[policy]\nkeep_last = 1\n")
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/lab"\ndrop_ins = false\nadopt = "all"\n')
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        assert evicted(daemon) == []


BAD = {
    "no TOML": "[policy\n",
    "an unknown key": "[policy]\nkeep_lst = 1\n",
    "a value that means nothing": '[policy]\nkeep_last = "many"\n',
    "more than a policy": 'mode = "observe"\n[policy]\nkeep_last = 1\n',
    "a contradiction": "[policy]\nkeep_every_steps = 9\npressure.keep_every_steps = 3\n",
    "bytes that are no text": None,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_one_that_cannot_be_understood_freezes_its_runs(run, tmp_path, text):
    file = drop_in(run.parent, text or "")
    if text is None:
        file.write_bytes(b"\xff\xfe[policy]")
    with look_at(run, tmp_path, policy__keep_last=1) as daemon:
        found = verdicts(daemon).values()
        assert {v.reasons[0].rule for v in found} == {"frozen"}
        assert str(file) in planned(daemon).runs[0].verdicts[0].reasons[0].text
        assert planned(daemon).actions == ()
        assert [lost.path for lost in planned(daemon).unreadable] == [str(file)]


def test_the_reason_names_line_and_remedy(run, tmp_path):
    drop_in(run.parent, "[policy]\n\nkeep_lst = 1\n")
    with look_at(run, tmp_path) as daemon:
        (lost,) = planned(daemon).unreadable
    assert "policy.keep_lst (line 3)" in lost.error
    assert "did you mean keep_last?" in lost.error


def test_a_frozen_run_keeps_its_wrecks_and_its_trash(run, tmp_path):
    with look_at(run, tmp_path, policy__keep_last=3, policy__trash_for="1s") as daemon:
        daemon.settle(time.monotonic())
        wreck = write_checkpoint(run, 60, state=False, mtime=time.time() - 400)
        cut(wreck / "optimizer.pt", 1000)
        drop_in(run.parent, "[policy]\nkeep_last = what\n")
        assert planned(daemon).actions == ()
        time.sleep(5.1)  # the trash expires, the wreck settles
        assert planned(daemon).actions == ()
        drop_in(run.parent, "[policy]\nkeep_last = 3\n")
        assert {a.kind for a in planned(daemon).actions} == {"set_aside", "purge"}


def test_a_run_that_became_a_link_freezes_nothing_in_the_trash(run, tmp_path):
    with look_at(run.parent, tmp_path, policy__keep_last=4, policy__trash_for="1s") as daemon:
        daemon.settle(time.monotonic())
        run.rename(tmp_path / "elsewhere")
        run.symlink_to(tmp_path / "elsewhere")
        time.sleep(1.1)
        assert planned(daemon).unreadable == ()


def link(file):
    file.symlink_to("/dev/null")


NO_FILES = {"a link": link, "a FIFO": os.mkfifo, "a directory": os.mkdir}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_one_that_is_no_plain_file_freezes(run, tmp_path, make):
    make(run.parent / ".ckptd.toml")
    with look_at(run, tmp_path, policy__keep_last=1) as daemon:
        assert planned(daemon).actions == ()


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_one_that_others_may_write_freezes(run, tmp_path, mode):
    drop_in(run.parent, "[policy]\nkeep_last = 1\n", mode=mode)
    with look_at(run, tmp_path, policy__keep_last=1) as daemon:
        assert planned(daemon).actions == ()
        assert "chmod go-w" in planned(daemon).unreadable[0].error


def test_one_that_is_being_written_freezes_until_it_is_closed(run, tmp_path):
    with look_at(run, tmp_path) as daemon:
        with (run.parent / ".ckptd.toml").open("w") as file:
            file.write("[policy]\nkeep_last = 1")
            file.flush()
            assert planned(daemon).actions == ()
            file.write("00\n")
        assert verdicts(daemon)["checkpoint-10"].reasons[0].rule == "keep_last"
        assert evicted(daemon) == []


def test_one_that_is_held_open_freezes_however_long(run, tmp_path):
    with look_at(run, tmp_path) as daemon:
        with drop_in(run.parent, "[policy]\nkeep_last = 1").open("a") as file:
            os.utime(file.fileno(), (time.time() - 3600,) * 2)
            assert planned(daemon).actions == ()
            assert "being written" in planned(daemon).unreadable[0].error
            file.write("00\n")
        assert evicted(daemon) == []
        assert planned(daemon).unreadable == ()


def test_a_change_within_one_tick_of_the_clock_is_seen(run, tmp_path):
    with look_at(run, tmp_path) as daemon:
        for count in (1, 2, 3, 4):
            (run.parent / ".ckptd.toml").write_text(f"[policy]\nkeep_last = {count}\n")
            assert len(evicted(daemon)) == 5 - count


def test_what_a_drop_in_keeps_since_the_plan_was_made_stays(run, tmp_path):
    with look_at(run, tmp_path) as daemon:
        drop_in(run.parent, "[policy]\nkeep_last = 1\n")
        plan = planned(daemon)
        drop_in(run.parent, "[policy]\nkeep_last = 4\n")
        outcomes = list(daemon.hands.execute(plan))
    assert [outcome.ok for outcome in outcomes] == [True, False, False, False]
    assert names(run) == {f"checkpoint-{step}" for step in STEPS[1:]}


@pytest.mark.parametrize("existing", [(), ("checkpoint_0", "checkpoint_1")])
def test_none_may_lie_where_accelerate_lists_its_checkpoints(tmp_path, existing):
    place = tmp_path / "lab" / "project" / "checkpoints"
    place.mkdir(parents=True)
    for name in existing:
        (place / name).mkdir()
    drop_in(place, "[policy]\nkeep_last = 1\n")
    with look_at(tmp_path / "lab", tmp_path) as daemon:
        (lost,) = planned(daemon).unreadable
    assert "Accelerate" in lost.error
    assert str(place.parent / ".ckptd.toml") in lost.error


def test_other_directories_named_checkpoints_may_hold_one(tmp_path):
    run = tmp_path / "checkpoints" / "run"
    for step in STEPS:
        write_checkpoint(run, step, mtime=time.time() - 1000 + step)
    drop_in(tmp_path / "checkpoints", "[policy]\nkeep_last = 1\n")
    with look_at(run, tmp_path) as daemon:
        assert evicted(daemon) == [10, 20, 30, 40]


# --- two users ---------------------------------------------------------------------------


def belongs_to(user, run):
    for path in (run, *run.rglob("*")):
        shutil.chown(path, user, user)
    return run


@pytest.mark.root
@as_root
@pytest.mark.parametrize(
    ("owner", "gone"), [(ALICE, [10, 20, 30, 40]), (0, [10, 20, 30, 40]), (BOB, [10])]
)
def test_it_counts_for_runs_of_its_owner_and_roots_for_all(run, tmp_path, owner, gone):
    belongs_to(ALICE, run)
    config = tmp_path / "ckptd.toml"
    config.write_text("[policy]\nkeep_last = 4\nkeep_best = 0\n")
    drop_in(run.parent, "[policy]\nkeep_last = 1\n", owner=owner)
    with ckptd(tmp_path / "state", run, config_file=config) as daemon:
        assert evicted(daemon) == gone
        told = [lost.error for lost in planned(daemon).unreadable]
    assert [f"belongs to user {BOB}" in text for text in told] == ([True] if owner == BOB else [])


@pytest.mark.root
@as_root
@pytest.mark.parametrize("text", ["[policy]\nkeep_last = what\n", "[policy]\nkeep_last = 9\n"])
def test_a_stranger_can_neither_freeze_nor_keep_nor_adopt(run, tmp_path, text):
    belongs_to(ALICE, run)
    drop_in(run.parent, text, owner=BOB, mode=0o666)
    with look_at(run, tmp_path, policy__keep_last=2) as daemon:
        assert evicted(daemon) == [10, 20, 30]
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/lab"\n')
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        assert [p.run.adopted for p in planned(daemon).runs] == [False]


@pytest.mark.root
@as_root
def test_of_two_users_in_one_directory_each_has_a_say_over_the_own(run, tmp_path):
    other = run.parent / "other"
    shutil.copytree(run, other)
    belongs_to(ALICE, run)
    belongs_to(BOB, other)
    drop_in(run.parent, "[policy]\nkeep_last = 1\n", owner=ALICE)
    drop_in(other, "[policy]\nkeep_last = 3\n", owner=BOB)
    with look_at(run.parent, tmp_path) as daemon:
        kept = {
            p.run.path: sum(v.action == "keep" for v in p.verdicts) for p in planned(daemon).runs
        }
    assert kept == {str(run): 1, str(other): 3}


@pytest.mark.root
@as_root
def test_directories_above_need_not_be_readable(run, tmp_path):
    reachable(tmp_path)
    belongs_to(ALICE, tmp_path / "lab")
    drop_in(run.parent, "[policy]\nkeep_last = 1\n", owner=ALICE)
    run.parent.chmod(0o311)
    (tmp_path / "state").mkdir(mode=0o777)
    with look_at(run, tmp_path) as daemon:
        os.setegid(ALICE)
        os.seteuid(ALICE)
        try:
            experiment = daemon.eyes.look(users=False).policies.of(str(run))
        finally:
            os.seteuid(0)
            os.setegid(0)
    assert experiment.frozen is None
    assert experiment.rules[0].count == 1


@pytest.fixture
def alice(run, tmp_path):
    """ALICE's ckptd beside root's drop-in: no lease tells her whether that is being written."""
    reachable(tmp_path, listed=False)
    belongs_to(ALICE, tmp_path / "lab")
    (tmp_path / "state").mkdir(mode=0o777)
    with look_at(run, tmp_path) as daemon:
        planned(daemon)
        os.setegid(ALICE)
        os.seteuid(ALICE)
        try:
            yield daemon
        finally:
            os.seteuid(0)
            os.setegid(0)


def rewritten_by_root(run, text):
    os.seteuid(0)
    (run.parent / ".ckptd.toml").write_text(text)
    os.seteuid(ALICE)


@pytest.mark.root
@as_root
def test_where_no_lease_tells_a_moment_of_quiet_must_pass(run, alice):
    rewritten_by_root(run, "[policy]\nkeep_last = 4\n")
    begun = time.monotonic()
    look = alice.eyes.look(users=False)
    assert "a moment ago" in look.policies.of(str(run)).frozen
    assert look.settling
    assert until_next(look, Plan(datetime.now(UTC))) <= QUIET
    while alice.eyes.look(users=False).settling:
        time.sleep(0.1)
    assert time.monotonic() - begun >= QUIET - 0.5  # its time stamp may lag by a tick
    assert alice.eyes.look(users=False).policies.of(str(run)).rules[0].count == 4


@pytest.mark.root
@as_root
def test_a_time_stamp_ahead_of_our_clock_does_not_freeze_for_long(run, alice):
    rewritten_by_root(run, "[policy]\nkeep_last = 4\n")
    os.seteuid(0)
    os.utime(run.parent / ".ckptd.toml", (time.time() + 3600,) * 2)
    os.seteuid(ALICE)
    assert alice.eyes.look(users=False).settling
    time.sleep(QUIET)
    assert not alice.eyes.look(users=False).settling


# --- what an attack once found -----------------------------------------------------------


@pytest.mark.parametrize("text", ['[policy]\ntrash_for = "30d"\n', "[policy]\ntrash_for = what\n"])
def test_a_drop_in_that_changed_since_the_plan_keeps_the_trash(run, tmp_path, text):
    drop_in(run.parent, '[policy]\nkeep_last = 3\ntrash_for = "1s"\n')
    with look_at(run, tmp_path) as daemon:
        daemon.settle(time.monotonic())
        time.sleep(1.2)
        plan = planned(daemon)
        assert {action.kind for action in plan.actions} == {"purge"}
        drop_in(run.parent, text)
        outcomes = list(daemon.hands.execute(plan))
    assert [outcome.refused for outcome in outcomes] == [True, True]


def test_what_is_wrong_with_a_drop_in_is_said_in_a_sentence(run, tmp_path):
    drop_in(run.parent, "".join(f"[policy.k{number}]\n" for number in range(5000)))
    with look_at(run, tmp_path) as daemon:
        text = planned(daemon).runs[0].verdicts[0].reasons[0].text
    assert text.endswith(" more")
    assert len(text) < 2000


def test_a_span_beyond_all_clocks_freezes_and_fails_nothing(run, tmp_path):
    drop_in(run.parent, '[policy]\nkeep_last = 1\ntrash_for = "999999999999999y"\n')
    told = []
    with look_at(run, tmp_path, told=told) as daemon:
        daemon.cycle()
    assert [record.event for record in told if record.event == "frozen"] == ["frozen"]
    assert len(names(run)) == len(STEPS)


@pytest.mark.root
@as_root
def test_a_strangers_drop_in_is_not_even_parsed(run, tmp_path):
    belongs_to(ALICE, run)
    drop_in(tmp_path / "lab", "[policy\n", owner=BOB)
    with look_at(run, tmp_path) as daemon:
        planned(daemon)
        assert daemon.eyes.memory.drop_ins.known == {}


@pytest.mark.root
@as_root
def test_roots_counts_for_others_only_where_not_everybody_could_have_moved_it(run, tmp_path):
    belongs_to(ALICE, run)
    drop_in(tmp_path / "lab", "[policy]\nkeep_last = 1\n", owner=0)
    with look_at(run, tmp_path, policy__keep_every_steps=20) as daemon:
        assert evicted(daemon) == [10, 30]
        (tmp_path / "lab").chmod(0o1777)
        assert evicted(daemon) == []


def test_a_run_that_is_renamed_with_its_drop_in_leaves_its_trash_the_time_it_was_promised(
    run, tmp_path
):
    drop_in(run, '[policy]\nkeep_last = 3\ntrash_for = "1h"\n')
    with look_at(run.parent, tmp_path) as daemon:
        daemon.settle(time.monotonic())
        assert len(planned(daemon).runs[0].verdicts) == 3
        file = tmp_path / "ckptd.toml"
        file.write_text('[policy]\ntrash_for = "1s"\n')
        run.rename(run.parent / "renamed")
    time.sleep(1.1)
    with look_at(run.parent, tmp_path, config_file=file) as daemon:
        assert planned(daemon).actions == ()
        (trash,) = {item.run for item in daemon.eyes.look(users=False).world.trash}
        run.mkdir()  # somebody is there who could say otherwise, and does not
        assert trash == str(run)
        assert {action.kind for action in planned(daemon).actions} == {"purge"}


@pytest.mark.parametrize("year", ["9999-12-31", "0001-01-01"])
def test_a_moment_at_the_end_of_all_calendars_in_a_sidecar_stops_no_look(run, tmp_path, year):
    with look_at(run, tmp_path, policy__keep_last=3) as daemon:
        daemon.settle(time.monotonic())
        for sidecar in run.parent.glob(".ckptd-trash/*/*.json"):
            said = json.loads(sidecar.read_text()) | {"trashed_at": f"{year}T23:59:59+00:00"}
            sidecar.write_text(json.dumps(said))
        look = daemon.eyes.look(users=False)
        assert len(look.world.trash) == 2
        until_next(look, planned(daemon))
