"""`check` as somebody else, on what is read-only, and beside a ckptd that runs."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from checked import found, mounted, needs_root, text, write_run
from reachable import reachable
from terminal import Answer, Terminal

from ckptd.actions.lock import Locks

USER = 1500


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def small(tmp_path):
    """A filesystem of 32 MiB."""
    with mounted(tmp_path / "small", "size=32m,mode=755") as point:
        yield point


# --- who may -----------------------------------------------------------------------------


AS_USER = f"""
import contextlib, io, os, sys
from ckptd.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(sys.argv[1:])  # imports what the user may not
os.setgroups([]); os.setgid({USER}); os.setuid({USER})
sys.exit(main(sys.argv[1:]))
"""


def as_user(tmp_path, path):
    """`ckptd check` by USER, who has a state directory of their own."""
    reachable(tmp_path)
    state = tmp_path / f"state-{USER}"
    state.mkdir(exist_ok=True)
    os.chown(state, USER, USER)
    argv = [sys.executable, "-c", AS_USER, "check", "--json", "--max-used", "100%"]
    (tmp_path / "ckptd.toml").touch()
    argv += ["--state", str(state), "--config", str(tmp_path / "ckptd.toml"), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.root
@needs_root
def test_what_a_user_may_not_read_or_make_fails(tmp_path):
    (tmp_path / "secret").mkdir(mode=0o700)
    (tmp_path / "shown").mkdir(mode=0o755)
    for path, said in (
        (tmp_path / "secret", "may not be read and searched"),
        (tmp_path / "shown", "nothing may be written"),
        (tmp_path / "shown" / "new", "cannot be made"),
    ):
        answer = as_user(tmp_path, path)
        assert (answer.status, found(answer)["watch"]) == (4, "failed"), answer.err
        assert said in text(answer, "watch")


@pytest.mark.root
@needs_root
def test_what_a_user_owns_is_well(tmp_path):
    (tmp_path / "own").mkdir()
    os.chown(tmp_path / "own", USER, USER)
    answer = as_user(tmp_path, tmp_path / "own" / "run")
    assert answer.status == 0, answer.out


@pytest.mark.root
@needs_root
def test_a_run_that_only_directories_of_others_surround_has_no_trash(tmp_path, small):
    (small / "own").mkdir()
    os.chown(small / "own", USER, USER)
    answer = as_user(tmp_path, small / "own")
    assert (answer.status, found(answer)["trash"]) == (4, "failed")
    assert "--trash-for 0s unlinks directly" in text(answer, "trash")
    assert as_user(tmp_path, small / "own" / "run").status == 0


@pytest.mark.root
@needs_root
def test_a_user_without_an_inotify_instance_left_is_warned(tmp_path):
    (tmp_path / "own").mkdir()
    os.chown(tmp_path / "own", USER, USER)
    with open("/proc/sys/fs/inotify/max_user_instances") as file:
        limit = int(file.read())
    if limit > 1000:
        pytest.skip(f"a user has {limit} inotify instances here")
    hogging = (
        "import os, sys\n"
        "from ckptd.watch.inotify import Inotify\n"
        f"os.setgroups([]); os.setgid({USER}); os.setuid({USER})\n"
        "several = []\n"
        "try:\n"
        "    while True: several.append(Inotify())\n"
        "except OSError: print('full', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hogging], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as hog:
        assert hog.stdout.readline() == b"full\n"
        answer = as_user(tmp_path, tmp_path / "own" / "run")
        hog.stdin.close()
    assert (answer.status, found(answer)["inotify_instances"]) == (0, "warning")
    assert "max_user_instances" in text(answer, "inotify_instances")


@pytest.mark.root
@needs_root
def test_a_read_only_mount_fails(ckptd, small):
    write_run(small / "run", count=1)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for path in (small / "run", small / "new"):
        answer = ckptd.json("check", "--max-used", "100%", path)
        assert (answer.status, found(answer)["watch"]) == (4, "failed")
        assert "read-only" in text(answer, "watch")


@pytest.mark.root
@needs_root
def test_a_run_that_fills_its_own_mount_has_no_trash(ckptd, small):
    answer = ckptd.json("check", "--max-used", "100%", small)
    assert (answer.status, found(answer)["trash"]) == (4, "failed")
    assert ckptd.check("--max-used", "100%", small / "run").status == 0


# --- who watches already -----------------------------------------------------------------


LOCKING = """
import sys
from ckptd.actions.lock import Locks
assert Locks().take(sys.argv[1], lambda path: False)
print("taken", flush=True)
sys.stdin.read()
"""
TELLING = """
import sys
from datetime import UTC, datetime
from ckptd.model import Plan, World
from ckptd.status.board import About, Board
board = Board.of(sys.argv[2], About("watch", "enforce", (sys.argv[1],)))
assert board.post(Plan(datetime.now(UTC)), World()), board.trouble
print("told", flush=True)
sys.stdin.read()
"""


@contextmanager
def running(program, *words):
    """A process that has done what *program* says, and lives."""
    argv = [sys.executable, "-c", program, *map(str, words)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        yield process
        process.stdin.close()


@pytest.mark.parametrize(
    ("program", "word"),
    [(LOCKING, "a ckptd acts on"), (TELLING, "watches")],
    ids=["lock", "report"],
)
def test_a_ckptd_at_or_above_is_told_as_long_as_it_lives(ckptd, tmp_path, program, word):
    data = tmp_path / "data"
    write_run(data / "run")
    paths = (data, data / "run", data / "new" / "run")
    with running(program, data, ckptd.state) as process:
        for path in paths:
            said = text(ckptd.json("check", path), "ckptd")
            assert f"{word} {data} already" in said
            assert (f"(pid {process.pid})" in said) is (program is TELLING)
    for path in paths:
        assert "no ckptd is seen" in text(ckptd.json("check", path), "ckptd")


def test_asking_for_the_lock_does_not_keep_it(ckptd, tmp_path):
    with running(LOCKING, tmp_path):
        pass
    assert ckptd.check("--max-used", "100%", tmp_path).status == 0
    assert Locks().take(str(tmp_path), lambda path: False)
