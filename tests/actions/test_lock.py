"""The lock of a watch: who acts, who stands by, and where none can be made."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from reachable import reachable

from ckptd.actions.lock import Locks, _name

NOBODY = 65534
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user"),
]
TAKING = """
import os, sys
from ckptd.actions.lock import Locks
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
print(Locks().take(sys.argv[1], lambda path: False))
"""


def taken_by_nobody(watch):
    program = [sys.executable, "-c", TAKING.format(uid=NOBODY), str(watch)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


@pytest.fixture
def watch(tmp_path):
    """A directory of root that everybody may look through."""
    reachable(tmp_path)
    (tmp_path / "data").mkdir(mode=0o755)
    return tmp_path / "data"


def test_where_no_lock_can_be_made_nobody_is_taken_to_act(watch):
    assert taken_by_nobody(watch)
    (watch / ".ckptd-trash").mkdir(mode=0o755)
    assert taken_by_nobody(watch)


def test_a_watch_that_cannot_be_listed_stops_nobody(watch):
    (watch / "mine").mkdir()
    os.chown(watch / "mine", NOBODY, NOBODY)
    watch.chmod(0o711)
    looks = "from ckptd import scan\nis_run = lambda path: scan.find_run(path) is not None\n"
    program = looks + TAKING.format(uid=NOBODY).replace("lambda path: False", "is_run")
    command = [sys.executable, "-c", program, str(watch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_a_lock_of_somebody_else_is_held(watch):
    locks = Locks()
    assert locks.take(str(watch), lambda path: False)
    assert not taken_by_nobody(watch)
    locks.release()


def test_a_lock_file_that_a_dead_ckptd_of_root_left_stops_nobody(watch):
    locks = Locks()
    assert locks.take(str(watch), lambda path: False)
    assert list((watch / ".ckptd-trash").glob("*-0.lock"))
    locks.release()
    assert taken_by_nobody(watch)


HOLDING = """
import fcntl, os, sys
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
fd = os.open(sys.argv[1], os.O_RDONLY | (0 if os.path.isdir(sys.argv[1]) else os.O_CREAT), 0o644)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path, uid=NOBODY):
    """A process of *uid* that is no ckptd holds a BSD lock on *path*."""
    program = [sys.executable, "-c", HOLDING.format(uid=uid), str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(program, **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        yield
        process.stdin.close()


def test_a_file_that_somebody_put_there_and_holds_does_not_stop_root(watch):
    trash = watch / ".ckptd-trash"
    trash.mkdir()
    trash.chmod(0o1777)
    with held(trash / _name(str(watch), 0)):
        assert (trash / _name(str(watch), 0)).stat().st_uid == NOBODY
        assert Locks().take(str(watch), lambda path: False)


@pytest.mark.parametrize(("owner", "may"), [(1500, True), (NOBODY, False)])
def test_whoever_can_read_a_run_and_locks_it_stops_only_what_is_theirs(watch, owner, may):
    (watch / "run").mkdir(mode=0o755)
    os.chown(watch / "run", owner, owner)
    with held(watch / "run"):
        assert Locks().take_run(str(watch / "run")) is may


def test_two_of_root_do_not_act_on_one_watch_or_one_run(watch):
    program = TAKING.format(uid=0)
    locks = Locks()
    assert locks.take(str(watch), lambda path: False)
    done = subprocess.run(
        [sys.executable, "-c", program, str(watch)], capture_output=True, check=True
    )
    assert done.stdout.strip() == b"False"
    locks.release()
    done = subprocess.run(
        [sys.executable, "-c", program, str(watch)], capture_output=True, check=True
    )
    assert done.stdout.strip() == b"True"
