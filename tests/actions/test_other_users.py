"""What belongs to another user: nobody but root can see who uses it."""

import os
import shutil
import stat
import time

import pytest
from corpus import write_checkpoint
from house import ckptd, names, verdicts
from reachable import reachable

OWNER, OTHER, GROUP = 1500, 1501, 1600
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user"),
]


@pytest.fixture
def run(tmp_path):
    """A run of OWNER that GROUP may write to."""
    reachable(tmp_path)
    for step in (5, 10):
        write_checkpoint(tmp_path / "data" / "out", step, mtime=time.time() - 1000 + step)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
        shutil.chown(path, OWNER, GROUP)
        path.chmod(0o775 if path.is_dir() else 0o664)
    return tmp_path / "data" / "out"


def settle(run, state):
    options = {"policy__keep_last": 1, "policy__keep_best": 0, "mode": "enforce"}
    with ckptd(state, run, **options) as daemon:
        rule = verdicts(daemon)["checkpoint-5"].reasons[0].rule
        daemon.settle(time.monotonic())
    return rule


def settle_as(user, run):
    """The first reason on the older checkpoint, after *user* has let go of what goes."""
    copy = shutil.copytree(run, run.parent.parent / "warm" / "out")
    settle(copy, copy.parent / "state")  # imports what the child may not
    answer, told = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.environ["HOME"] = str(run.parent.parent / "state")
            os.setgroups([])
            os.setgid(GROUP)
            os.setuid(user)
            os.write(told, settle(run, run.parent.parent / "state" / str(user)).encode())
        finally:
            os._exit(0)  # this copy of pytest ends here
    os.waitpid(child, 0)
    os.close(told)
    with open(answer) as file:
        return file.read()


def test_another_user_lets_go_of_nothing_although_the_group_may_write(run):
    assert settle_as(OTHER, run) == "not_owner"
    assert names(run) == {"checkpoint-5", "checkpoint-10"}


def test_its_owner_does(run):
    assert settle_as(OWNER, run) == "keep_last"
    assert names(run) == {"checkpoint-10"}


def test_a_trash_that_a_killed_ckptd_did_not_hand_over_takes_what_its_owner_lets_go(run):
    place = run.parent
    os.chown(place, 0, 0)
    place.chmod(0o755)
    (place / ".ckptd-trash" / str(OWNER)).mkdir(parents=True)
    settle(run, place.parent / "state")

    assert names(run) == {"checkpoint-10"}
    assert (place / ".ckptd-trash" / str(OWNER)).stat().st_uid == OWNER
    assert (place / ".ckptd-trash").stat().st_mode & stat.S_ISVTX
