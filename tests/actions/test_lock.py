"""The lock of a watch: who acts, who stands by, and where none can be made."""

import os
import stat
import subprocess
import sys

import pytest

from ckptd.actions.lock import Locks

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
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(stat.S_IMODE(directory.stat().st_mode) | 0o055)
    (tmp_path / "data").mkdir(mode=0o755)
    return tmp_path / "data"


def test_where_no_lock_can_be_made_nobody_is_taken_to_act(watch):
    assert taken_by_nobody(watch)
    (watch / ".ckptd-trash").mkdir(mode=0o755)
    assert taken_by_nobody(watch)


def test_a_lock_of_somebody_else_is_held(watch):
    locks = Locks()
    assert locks.take(str(watch), lambda path: False)
    assert not taken_by_nobody(watch)
    locks.release()
