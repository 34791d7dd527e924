"""`why` for a user whose runs a service of root looks after: whose view it is, and what went."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from builders import ck, plan_of, run, series, world
from corpus import write_checkpoint

from ckptd import audit, config
from ckptd.cli.once import planned
from ckptd.ledger import Ledger, Record
from ckptd.observe import Eyes
from ckptd.policy import KeepLast, Policy
from ckptd.status.board import About, Board

BOB = 1501
TIGHT = Policy(rules=(KeepLast(1),), firm=(KeepLast(1),))
AS_BOB = """
import contextlib, gettext, io, locale, os, shutil, sys
from ckptd.cli import main
bob, run, *words = sys.argv[1:]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    # Python itself may lie where BOB cannot look, so whatever is imported late is imported now.
    from ckptd.config import toml
    main(["history"])
    main(["why", "--keep-last", "1", f"{run}/checkpoint-10"])
    main(["why", f"{run}/checkpoint-0"])
os.setgroups([]); os.setgid(int(bob)); os.setuid(int(bob))
sys.exit(main(["why", *words]))
"""
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root's service and a second user"),
]


@pytest.fixture
def place(tmp_path):
    """BOB's run, with three saves."""
    for above in (tmp_path, *list(tmp_path.parents)[:3]):
        above.chmod(above.stat().st_mode | 0o011)
    place = tmp_path / "data" / "run"
    for step in (10, 20, 30):
        write_checkpoint(place, step, mtime=time.time() - 1000 + step)
    (tmp_path / "bob").mkdir()
    for path in (tmp_path / "bob", place, *place.rglob("*")):
        os.chown(path, BOB, BOB)
    return place


@pytest.fixture
def board(tmp_path, place):
    """The board of root's service, whose policy is not BOB's."""
    state = tmp_path / "service"
    state.mkdir(0o711)
    board = Board.of(str(state), About("watch", "enforce", (str(place.parent),)))
    seen = world(run(*series(10, 20), path=str(place), watch=str(place.parent), uid=BOB))
    assert board.post(plan_of(seen, TIGHT), seen), board.trouble
    return board


@pytest.fixture
def ask(tmp_path, place):
    def ask(*words):
        environment = {
            "RUNTIME_DIRECTORY": f"{tmp_path}/service/status",
            "STATE_DIRECTORY": f"{tmp_path}/bob",
            "XDG_CONFIG_HOME": f"{tmp_path}/bob",
        }
        return subprocess.run(
            [sys.executable, "-c", AS_BOB, str(BOB), str(place), *map(str, words)],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return ask


def test_the_verdict_is_the_running_services_and_says_so(ask, board, place):
    shown = ask(place / "checkpoint-10")
    told = json.loads(ask("--json", place / "checkpoint-10").stdout)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "2nd newest; keep_last is 1" in shown.stdout
    assert "It goes as soon as it may." in shown.stdout
    assert f"So ckptd watch (pid {os.getpid()}, root's) saw it" in shown.stdout
    assert (told["path"], told["standing"]) == (f"{place}/checkpoint-10", "surplus")
    assert (told["told_by"]["pid"], told["told_by"]["uid"]) == (os.getpid(), 0)


def test_it_says_when_it_goes_where_it_sees_what_the_service_sees(ask, board, place, tmp_path):
    settings = config.load(None, {}, [str(place)])
    look, decided = planned(Eyes(settings, Ledger.read_only(str(tmp_path / "none"))))
    time.sleep(max(0.0, board._again - time.monotonic()))
    assert board.post(decided, look.world), board.trouble

    shown = ask(place / "checkpoint-20")
    told = json.loads(ask("--json", place / "checkpoint-20").stdout)

    assert "It stays until after 1 more save" in shown.stdout, shown.stderr
    assert "root's) saw it" in shown.stdout
    assert told["goes"]["when_seconds"] is None
    assert told["goes"]["text"] in shown.stdout
    assert told["told_by"]["pid"] == os.getpid()


def test_a_service_that_only_observes_says_so(ask, board, place):
    board.about = replace(board.about, mode="observe")
    seen = world(run(*series(10, 20), path=str(place), watch=str(place.parent), uid=BOB))
    time.sleep(max(0.0, board._again - time.monotonic()))
    assert board.post(plan_of(seen, TIGHT), seen), board.trouble

    assert "if the mode were enforce; it is observe" in ask(place / "checkpoint-10").stdout


def test_with_a_policy_of_ones_own_it_is_what_that_would_mean(ask, board, place):
    shown = ask("--keep-last", "3", place / "checkpoint-10")
    told = json.loads(ask("--json", "--keep-last", "3", place / "checkpoint-10").stdout)

    assert "3rd newest; keep_last is 3" in shown.stdout, shown.stderr
    assert "root's" not in shown.stdout
    assert told["told_by"] is None


def test_what_the_service_has_not_seen_yet_is_looked_at_and_that_is_said(ask, board, place):
    shown = ask(place / "checkpoint-30")

    assert "newest complete checkpoint of this run" in shown.stdout
    assert "has not seen it yet" in shown.stderr


@pytest.mark.parametrize("json_", [False, True], ids=["people", "json"])
def test_what_became_of_one_that_is_gone_is_on_the_board(ask, board, place, tmp_path, json_):
    path, now = f"{place}/checkpoint-5", time.time()
    of_it = {"checkpoint": path, "run": str(place)}
    with Ledger(str(tmp_path / "bob")) as ledger:  # BOB's own ckptd did something before
        assert ledger.note(Record(event="restore", at=now - 90, reason="asked for", **of_it))
    for file in (tmp_path / "bob").iterdir():
        os.chown(file, BOB, BOB)
    for ago, event in ((60, "evict"), (30, "purge"), (10, "refuse")):
        board.hear(audit.event(Record(event=event, at=now - ago, reason=f"by {event}", **of_it)))
    seen = world(run(ck(20), path=str(place), watch=str(place.parent), uid=BOB))
    time.sleep(max(0.0, board._again - time.monotonic()))
    assert board.post(plan_of(seen), seen), board.trouble

    shown = ask(*(["--json"] if json_ else []), path)
    assert (shown.returncode, shown.stderr) == (0, "")
    if json_:
        told = json.loads(shown.stdout)
        assert (told["path"], told["event"], told["reason"]) == (path, "purge", "by purge")
        assert told["told_by"]["pid"] == os.getpid()
    else:
        assert shown.stdout.startswith(f"{path}: purge at ")
        assert f"by purge (as ckptd watch (pid {os.getpid()}, root's) tells)" in shown.stdout


def test_what_nobody_knows_is_1(ask, board, place):
    shown = ask(place / "checkpoint-4")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "no checkpoint that ckptd knows of" in shown.stderr
