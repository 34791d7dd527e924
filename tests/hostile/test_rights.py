"""In whose rights root reads and acts, and what follows for what it tells."""

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime

import corpus
import pytest
from house import ckptd, names, verdicts
from racing import ALICE, BOB, SECRET, staged
from terminal import Terminal, snapshot

from ckptd import beneath, policy, render, trash
from ckptd.actions import trash as acts
from ckptd.actions.place import can_hold, find_place
from ckptd.status.users import of_user, owners

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs two other users"),
]
TEAM = 1600


@pytest.fixture
def stage():
    with staged(3) as found:
        yield found


def decided_by(daemon):
    look = daemon.eyes.look(users=True)
    decided = policy.plan(look.world, look.policies, frozenset(), datetime.now(UTC))
    return daemon.eyes.explain(decided, look.world), look.world


def shown_to(uid, decided, world):
    return render.dumps(render.report_json(*of_user(uid, decided, world)))


# --- as_owner ----------------------------------------------------------------------------


def test_as_owner_leaves_our_groups_in_this_thread_alone(tmp_path):
    """In a process of its own, which has a group that the owner has not."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    os.chown(secret, 0, TEAM)
    secret.chmod(0o640)
    program = (
        "import os, sys, threading\n"
        "from ckptd import beneath\n"
        f"os.setgroups([{TEAM}, 7])\n"
        "go, seen = threading.Event(), []\n"
        "other = threading.Thread(target=lambda: (go.wait(), seen.extend(os.getgroups())))\n"
        "other.start()\n"
        "fd = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)\n"
        f"with beneath.as_owner({ALICE}, {ALICE}):\n"
        "    assert os.getgroups() == []\n"
        "    go.set(); other.join()\n"
        "    try:\n"
        "        os.open('secret', os.O_RDONLY, dir_fd=fd)\n"
        "    except PermissionError:\n"
        "        print('denied')\n"
        f"assert sorted(seen) == sorted(os.getgroups()) == [7, {TEAM}]\n"
        "os.close(os.open(sys.argv[1], os.O_RDONLY))\n"
    )
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", program, secret], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("denied\n", "")


def test_as_owner_takes_the_groups_that_the_system_knows():
    import pwd

    user = next(u for u in pwd.getpwall() if u.pw_uid)
    with beneath.as_owner(user.pw_uid, user.pw_gid):
        assert set(os.getgroups()) == set(os.getgrouplist(user.pw_name, user.pw_gid))
    assert os.getgroups() == os.getgroups()


def test_as_owner_of_is_no_way_from_one_user_to_another(stage):
    closed = stage.bob / "closed"
    closed.mkdir(mode=0o700)
    os.chown(closed, BOB, BOB)
    with beneath.as_owner(ALICE, ALICE), pytest.raises(PermissionError):
        beneath.open_directory(str(closed / "deeper"))


def test_leases_tell_in_the_owners_rights_who_has_a_file_open(stage):
    path = stage.run / "checkpoint-5" / "optimizer.pt"
    path.chmod(0o600)
    with open(path), beneath.as_owner(ALICE, ALICE):
        fd = os.open(path, os.O_RDONLY)
        assert beneath.open_for(fd, write_only=False) is True
        os.close(fd)


def test_cost_of_taking_rights_is_small():
    begun = time.process_time()
    for _ in range(1000):
        with beneath.as_owner(ALICE, ALICE):
            pass
    assert time.process_time() - begun < 2.0  # a millisecond each would show in every look


# --- reading -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["hard", "other-owner"])
def test_what_only_bob_may_read_is_in_nothing_that_alice_is_shown(stage, tmp_path, how):
    if how == "hard":
        hers = stage.run / "checkpoint-5" / "trainer_state.json"
        hers.unlink()
        os.link(stage.victim / "checkpoint-5" / "trainer_state.json", hers)
    else:  # BOB's own save, closed, in ALICE's run
        shutil.move(stage.victim / "checkpoint-5", stage.run / "checkpoint-20")
    told = []
    with ckptd(tmp_path / "state", stage.alice, told=told, policy__keep_last=1) as daemon:
        decided, world = decided_by(daemon)
        daemon.settle(time.monotonic())
    assert SECRET not in shown_to(ALICE, decided, world)
    assert SECRET not in repr(told)
    assert "ermission denied" in repr(decided)


def test_a_run_of_roots_is_read_in_the_rights_of_each_saves_owner(stage, tmp_path):
    os.chown(stage.run, 0, 0)
    stage.run.chmod(0o1777)
    hers = stage.run / "checkpoint-5" / "trainer_state.json"
    hers.unlink()
    os.link(stage.victim / "checkpoint-5" / "trainer_state.json", hers)
    with ckptd(tmp_path / "state", stage.alice) as daemon:
        assert SECRET not in repr(verdicts(daemon)["checkpoint-5"])


def test_mixed_owners_reads_as_root(stage, tmp_path):
    for path in (stage.run / "checkpoint-15").glob("*.*"):
        os.chown(path, 0, 0)
        path.chmod(0o600)
    configuration = tmp_path / "ckptd.toml"
    configuration.write_text(
        f'[[watch]]\npath = "{stage.alice}"\nadopt = "all"\nmixed_owners = true\n'
    )
    with ckptd(tmp_path / "state", config_file=configuration) as daemon:
        assert verdicts(daemon)["checkpoint-15"].checkpoint.complete
    configuration.write_text(f'[[watch]]\npath = "{stage.alice}"\nadopt = "all"\n')
    with ckptd(tmp_path / "state", config_file=configuration) as daemon:
        assert not verdicts(daemon)["checkpoint-15"].checkpoint.complete


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.parametrize("trash_for", ["0s", "1h"])
def test_where_root_is_nobody_the_owners_rights_do(stage, trash_for):
    """Without the capabilities that open everything: as on NFS with root_squash."""
    for path in (stage.alice, stage.run):
        path.chmod(0o700)
    bare = "-dac_override,-dac_read_search"
    before = ("setpriv", "--inh-caps", bare, "--bounding-set", bare)
    options = ("--keep-last", "1", "--trash-for", trash_for)
    answer = Terminal(stage.top / "state").apply(*options, stage.alice, before=before)
    assert answer.status == 0, answer.out + answer.err
    assert names(stage.run) == {"checkpoint-15"}


# --- what was put on the way -------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_a_watch_that_leads_over_alices_link_to_bobs_directory_is_none(stage, tmp_path, named):
    (stage.alice / "runs").symlink_to(stage.bob)
    os.chown(stage.alice / "runs", ALICE, ALICE, follow_symlinks=False)
    before = snapshot(stage.bob)
    configuration = tmp_path / "ckptd.toml"
    configuration.write_text(f'[[watch]]\npath = "{stage.top}/*/runs"\nadopt = "all"\n')
    paths = [stage.alice / "runs"] if named else []
    options = {"policy__keep_last": 1, "policy__keep_best": 0, "policy__trash_for": "0s"}
    with ckptd(tmp_path / "s", *paths, config_file=configuration, **options) as daemon:
        decided, _ = decided_by(daemon)
        daemon.settle(time.monotonic())
    assert snapshot(stage.bob) == before
    assert f"of user {ALICE} leads to {stage.bob}" in decided.unreadable[0].error
    assert "name the directory itself" in decided.unreadable[0].error


@pytest.mark.parametrize("maker", [0, BOB])
def test_a_link_of_roots_or_to_its_makers_own_is_followed(stage, tmp_path, maker):
    (stage.alice / "runs").symlink_to(stage.bob)
    os.chown(stage.alice / "runs", maker, maker, follow_symlinks=False)
    with ckptd(tmp_path / "s", stage.alice / "runs") as daemon:
        assert len(verdicts(daemon)) == 3


def test_links_without_end_are_one_sentence(stage, tmp_path):
    (stage.alice / "loop").symlink_to("loop")
    with ckptd(tmp_path / "s", stage.alice / "loop") as daemon:
        decided, _ = decided_by(daemon)
    assert "symbolic links" in decided.unreadable[0].error


# --- a trash made beforehand -------------------------------------------------------------


@pytest.fixture
def shared(stage):
    """Root's directory that everybody may write to, as /tmp, with BOB's run in a part of it."""
    stage.top.chmod(0o1777)
    return stage


def made(path, uid, mode):
    path.mkdir()
    os.chown(path, uid, uid)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "how", ["alices", "alices-for-all", "roots-unsticky", "shelf", "shelf-link", "link", "file"]
)
def test_a_trash_that_alice_made_beforehand_is_passed_over(shared, how):
    there = shared.top / trash.TRASH
    match how:
        case "alices":
            made(there, ALICE, 0o755)
        case "alices-for-all":
            made(there, ALICE, 0o1777)
        case "roots-unsticky":
            made(there, 0, 0o777)
        case "shelf":
            made(there, 0, 0o1777)
            made(there / str(BOB), ALICE, 0o777)
        case "shelf-link":
            made(there, 0, 0o1777)
            (there / str(BOB)).symlink_to(shared.alice)
        case "link":
            there.symlink_to(shared.alice)
        case "file":
            there.touch()
    run = shared.victim
    assert find_place(str(run), str(shared.top), lambda path: False) == str(shared.bob)
    assert not (how == "alices" and can_hold(str(shared.top)))


def planted(stage, **fields):
    """An item on ALICE's own shelf whose sidecar says that it came from BOB's run."""
    save = corpus.write_checkpoint(stage.top / "new", 5, size=64)
    seen = stage.victim / "checkpoint-5"
    shelf = stage.top / trash.TRASH / str(ALICE)
    if not shelf.exists():
        made(shelf.parent, 0, 0o1777)
        made(shelf, ALICE, 0o700)
    os.rename(save, shelf / "plantedaaaaaaaaa")
    item = next(iter(trash.items(str(stage.top))))
    told = {"run": str(stage.victim), "name": seen.name, "known": True, **fields}
    from dataclasses import replace

    text = trash.sidecar(replace(item, **told))
    (shelf / "plantedaaaaaaaaa.json").write_bytes(text)
    for path in (shelf, *shelf.rglob("*")):
        os.chown(path, ALICE, ALICE)
    return next(iter(trash.items(str(stage.top))))


def test_restore_brings_back_bobs_save_and_not_what_alice_says_is_his(shared):
    terminal = Terminal(shared.top / "state")
    asked = shared.victim / "checkpoint-5"
    before = {path.name for path in asked.iterdir()}
    assert terminal.apply("--keep-last", "1", shared.bob).status == 0
    assert not asked.exists()
    planted(shared, trashed_at=datetime(2090, 1, 1, tzinfo=UTC))
    answer = terminal.restore(asked)
    assert answer.status == 0, answer.err
    assert {path.name for path in asked.iterdir()} == before
    assert asked.stat().st_uid == BOB


def test_restore_puts_nothing_where_its_owner_could_not(shared):
    item = planted(shared)
    (shared.victim / "checkpoint-5").rename(shared.victim / "kept")
    shared.victim.chmod(0o777)
    shared.bob.chmod(0o700)
    before = snapshot(shared.bob)
    with pytest.raises(Exception, match="denied"):
        acts.restore(item)
    assert snapshot(shared.bob) == before


def test_an_item_of_alices_does_not_pass_for_the_newest_that_bobs_run_has_left(shared, tmp_path):
    options = {"policy__keep_last": 1, "policy__keep_best": 0, "policy__trash_for": "0s"}
    for cut in shared.victim.glob(f"*/{SECRET}*"):
        cut.unlink()
    for nth, save in enumerate(sorted(shared.victim.iterdir(), key=lambda s: int(s.name[11:]))):
        corpus.set_times(save, 1.7e9 + nth)
    with ckptd(tmp_path / "s", shared.bob, policy__keep_last=1, policy__keep_best=0) as daemon:
        daemon.settle(time.monotonic())
    assert [item.step for item in trash.items(str(shared.bob))] == [5, 10]
    for save in shared.victim.glob("checkpoint-*"):
        shutil.rmtree(save)
    corpus.write_checkpoint(shared.victim, 99, state=False)  # it is a run still
    for path in (shared.victim / "checkpoint-99", *shared.victim.rglob("*")):
        os.chown(path, BOB, BOB)
    planted(shared, saved_at=datetime(2090, 1, 1, tzinfo=UTC))
    with ckptd(tmp_path / "s", shared.top, **options) as daemon:
        daemon.settle(time.monotonic())
    kept = [item for item in trash.items(str(shared.bob)) if item.uid == BOB]
    assert max(item.step for item in kept) == 10


def test_an_item_of_alices_makes_her_hear_nothing_of_bobs(shared, tmp_path):
    planted(shared)
    with ckptd(tmp_path / "s", shared.top) as daemon:
        decided, world = decided_by(daemon)
        known = owners(decided, world, {})
        assert known[str(shared.victim)] == BOB
        shared.victim.rename(shared.bob / "elsewhere")
        decided, world = decided_by(daemon)
    assert owners(decided, world, known)[str(shared.victim)] == BOB
    assert "bob" not in shown_to(ALICE, decided, world).replace(str(shared.victim), "")


# --- what is told ------------------------------------------------------------------------


def test_what_stands_in_the_way_of_room_and_others_limits_are_not_told(stage, tmp_path):
    (stage.bob / SECRET).write_bytes(b"x" * 2**22)
    options = {"disk__high": "1%", "disk__low": "0.5%", "policy__keep_last": "unlimited"}
    with ckptd(tmp_path / "s", stage.top, **options) as daemon:
        decided, world = decided_by(daemon)
    assert any(need.shortfall for need in decided.filesystems)
    assert SECRET not in shown_to(ALICE, decided, world)


@pytest.mark.parametrize(("owner", "mode", "told"), [(BOB, 0o644, False), (0, 0o600, False)])
def test_what_is_wrong_in_a_drop_in_is_told_to_who_may_read_it(stage, tmp_path, owner, mode, told):
    drop_in = stage.top / ".ckptd.toml"
    drop_in.write_text(f"[policy]\n{SECRET} = 1\n")
    os.chown(drop_in, owner, owner)
    drop_in.chmod(mode)
    os.utime(drop_in, (1, 1))
    with ckptd(tmp_path / "s", stage.top) as daemon:
        decided, world = decided_by(daemon)
    everything = render.dumps(render.report_json(decided, world))
    assert SECRET in everything.replace(f"{SECRET}.safetensors", "")
    assert (SECRET in shown_to(ALICE, decided, world)) is told
