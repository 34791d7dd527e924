"""`ckptd status` as people and scripts meet it: with a daemon, without one, and following."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import corpus
import pytest
from reachable import reachable
from terminal import CKPTD, Screen, Terminal, on_a_terminal, snapshot

from ckptd.cli.progress import PATIENCE as PATIENT
from ckptd.cli.progress import REDRAWN

PATIENCE = 20
ESCAPE = "\x1b"


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def data(tmp_path):
    write_run(tmp_path / "data" / "a")
    return tmp_path / "data"


def write_run(place, steps=(10, 20, 30)):
    for nth, step in enumerate(steps):
        at = time.time() - 7200 + nth
        corpus.write_checkpoint(place, step, mtime=at, eval_loss=1 / step)
    return place


def until(true, patience=PATIENCE):
    """What *true* answers as soon as that is anything."""
    end = time.monotonic() + patience
    while not (answer := true()) and time.monotonic() < end:
        time.sleep(0.05)
    assert answer
    return answer


@contextmanager
def watching(state, *words):
    """`ckptd watch` that has shown what it sees."""
    marks = ("--high", "99.9%", "--low", "99.8%", "--hard", "100%")
    argv = (*CKPTD, "watch", "--state", str(state), *marks, *map(str, words))
    daemon = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: list((state / "status").glob(f"*.{daemon.pid}.json")))
        yield daemon
    finally:
        daemon.send_signal(signal.SIGCONT)
        daemon.terminate()
        daemon.wait(PATIENCE)


# --- with a daemon -----------------------------------------------------------------------


def test_it_shows_what_the_daemon_sees_and_did(ckptd, data):
    with watching(ckptd.state, "--keep-last", "1", "--keep-best", "0", data) as daemon:
        until(lambda: len(ckptd.json("status").document["daemons"][0]["events"]) >= 2)
        document = ckptd.json("status").document
        shown = ckptd.status().out
    (report,) = document["daemons"]
    assert (document["version"], document["seen"]) == (1, None)
    assert report["daemon"]["pid"] == daemon.pid
    assert report["daemon"]["watches"] == [str(data)]
    assert [e["event"] for e in report["events"]] == ["evict", "evict"]
    (run,) = report["runs"]
    assert [os.path.basename(c["path"]) for c in run["checkpoints"]] == ["checkpoint-30"]
    assert report["trash"]["items"] == 2
    assert f"ckptd watch (pid {daemon.pid}) on {data}" in shown
    assert f"{data}/a" in shown
    assert "In the trash: 2 checkpoints" in shown
    assert " ".join(shown.split()).count("keep_last is 1") == 2, "wherever a line is broken"


def test_what_is_not_adopted_is_told_with_the_way_in(ckptd, data, tmp_path):
    settings = tmp_path / "ckptd.toml"
    settings.write_text(f'[[watch]]\npath = "{data}"\n')
    with watching(ckptd.state, "--config", settings):
        shown = ckptd.status().out
        document = ckptd.json("status").document
    (report,) = document["daemons"]
    held = sum(c["bytes"] for c in report["runs"][0]["checkpoints"])
    assert report["not_adopted"] == {"runs": 1, "checkpoints": 3, "bytes": held}
    assert "in 1 run not adopted; ckptd adopt PATH puts it under care." in shown


def test_a_path_shows_its_run_only_and_elsewhere_nobody_watches(ckptd, data, tmp_path):
    write_run(data / "b")
    other = write_run(tmp_path / "other")
    with watching(ckptd.state, data):
        for path in (data / "b", data / "b" / "checkpoint-10"):
            (report,) = ckptd.json("status", path).document["daemons"]
            assert [r["path"] for r in report["runs"]] == [f"{data}/b"]
        assert len(ckptd.json("status", data).document["daemons"][0]["runs"]) == 2
        elsewhere = ckptd.json("status", other).document
        assert elsewhere["daemons"] == []
        assert [r["path"] for r in elsewhere["seen"]["runs"]] == [str(other)]
        assert "No ckptd is running there" in ckptd.status(other).out


def test_two_daemons_are_two_reports(ckptd, data, tmp_path):
    other = write_run(tmp_path / "other")
    with watching(ckptd.state, data) as one, watching(ckptd.state, other) as two:
        pids = {r["daemon"]["pid"] for r in ckptd.json("status").document["daemons"]}
    assert pids == {one.pid, two.pid}


def test_a_daemon_that_was_killed_is_not_shown(ckptd, data):
    with watching(ckptd.state, data) as daemon:
        daemon.kill()
        daemon.wait(PATIENCE)
        assert list((ckptd.state / "status").iterdir())
        assert ckptd.json("status").document == {"version": 1, "daemons": [], "seen": None}
    with watching(ckptd.state, data) as daemon:
        names = {path.name for path in (ckptd.state / "status").iterdir()}
        assert names == {f"{os.geteuid()}.{daemon.pid}.json"}
    assert list((ckptd.state / "status").iterdir()) == []


def test_a_broken_file_is_a_sentence_beside_the_rest(ckptd, data):
    with watching(ckptd.state, data):
        (ckptd.state / "status" / f"{os.geteuid()}.1.json").write_text("{")
        answer = ckptd.json("status")
    assert answer.status == 0
    assert len(answer.document["daemons"]) == 1
    assert "is passed over: it is no JSON" in answer.err


# --- without one -------------------------------------------------------------------------


def test_without_a_daemon_it_looks_itself_and_touches_nothing(ckptd, data):
    before = snapshot(data)
    answer = ckptd.status(data)
    assert answer.status == 0
    assert answer.out.startswith("No ckptd is running there; this is what there is now.")
    assert "in 1 run not adopted" in answer.out
    (run,) = ckptd.json("status", data).document["seen"]["runs"]
    assert len(run["checkpoints"]) == 3
    assert snapshot(data) == before
    assert not ckptd.state.exists()


def test_without_a_daemon_the_configured_watches_are_looked_at(ckptd, data, tmp_path):
    settings = tmp_path / "ckptd.toml"
    settings.write_text(f'[[watch]]\npath = "{data}"\n')
    answer = ckptd.status("--config", settings)
    assert answer.out.startswith("No ckptd is running; this is what there is now.")
    assert f"{data}/a" in answer.out


def test_with_nothing_configured_it_is_one_sentence_and_0(ckptd, tmp_path):
    settings = tmp_path / "ckptd.toml"
    settings.write_text("")
    answer = ckptd.status("--config", settings)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == (
        "No ckptd is running, and no watch is configured; ckptd status PATH looks at PATH.\n"
    )
    nothing = {"version": 1, "daemons": [], "seen": None}
    assert ckptd.json("status", "--config", settings).document == nothing


def test_a_path_that_does_not_exist_is_misuse(ckptd, tmp_path):
    answer = ckptd.status(tmp_path / "nowhere")
    assert answer.status == 2
    assert "does not exist" in answer.err


# --- following ---------------------------------------------------------------------------


def test_follow_prints_a_line_of_json_per_change_until_it_is_interrupted(ckptd, data):
    with watching(ckptd.state, "--keep-last", "1", "--keep-best", "0", data):
        argv = (*CKPTD, "status", "--follow", "--json", "--state", str(ckptd.state))
        follower = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        first = json.loads(follower.stdout.readline())
        corpus.write_checkpoint(data / "a", 40, eval_loss=0.1)
        steps = set()
        while 40 not in steps:
            document = json.loads(follower.stdout.readline())
            steps = {c["step"] for c in document["daemons"][0]["runs"][0]["checkpoints"]}
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE) == 130
        follower.stdout.close()
    assert first["daemons"][0]["runs"][0]["path"] == f"{data}/a"


def test_follow_sees_a_daemon_come_and_go(ckptd, data, tmp_path):
    settings = tmp_path / "ckptd.toml"
    settings.write_text("")
    argv = (*CKPTD, "status", "--follow", "--config", str(settings), "--state", str(ckptd.state))
    follower = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "No ckptd is running" in follower.stdout.readline()
    with watching(ckptd.state, data) as daemon:
        until_line(follower.stdout, f"pid {daemon.pid}")
    until_line(follower.stdout, "No ckptd is running")
    follower.send_signal(signal.SIGINT)
    assert "Traceback" not in follower.communicate(timeout=PATIENCE)[1]


def until_line(stream, text):
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"{text} never came")


# --- on a terminal -----------------------------------------------------------------------


def test_a_terminal_gets_colours_and_whole_names(ckptd, data):
    with on_a_terminal(*CKPTD, "plan", "--keep-last", "1", "--state", ckptd.state, data) as (
        child,
        came,
    ):
        shown = came()
        assert child.wait(PATIENCE) == 0
    assert ESCAPE in shown
    assert "- checkpoint-10" in shown
    assert "newest complete checkpoint of this run" in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colour_gets_none(ckptd, data, environment):
    words = ("plan", "--keep-last", "1", "--state", ckptd.state, data)
    with on_a_terminal(*CKPTD, *words, environment=environment) as (_, came):
        shown = came()
    assert "[33m" not in shown
    assert "- checkpoint-10" in shown


def test_a_narrow_terminal_gets_every_word(ckptd, data):
    words = ("plan", "--keep-last", "1", "--state", ckptd.state, data)
    with on_a_terminal(*CKPTD, *words, columns=40) as (_, came):
        shown = came()
    assert "checkpoint-10" in shown
    assert "newest complete checkpoint of" in shown


NASTY = "[bold red]x[/]\x1b[2J:smile:"


def test_a_name_is_neither_markup_nor_an_escape_sequence(ckptd, tmp_path):
    write_run(tmp_path / "data" / NASTY)
    for command in ("plan", "status"):
        words = (command, "--state", ckptd.state, tmp_path / "data")
        with on_a_terminal(*CKPTD, *words, columns=200) as (_, came):
            shown = came()
        assert "[bold red]x[/]\\x1b[2J:smile:" in shown
        assert f"{ESCAPE}[2J" not in shown


def test_follow_redraws_in_place_and_leaves_the_terminal_as_it_was(ckptd, data):
    with (
        watching(ckptd.state, "--keep-last", "1", "--keep-best", "0", data),
        on_a_terminal(*CKPTD, "status", "--follow", "--state", ckptd.state, columns=250) as (
            child,
            came,
        ),
    ):
        first = came(f"{data}/a")
        corpus.write_checkpoint(data / "a", 40, eval_loss=0.1)
        second = came("checkpoint-40")
        child.send_signal(signal.SIGINT)
        last = came()
        assert child.wait(PATIENCE) == 130
    enter, leave = f"{ESCAPE}[?1049h", f"{ESCAPE}[?1049l"
    assert enter in first
    assert f"{data}/a" in first
    assert "checkpoint-40" in second, "recognised"
    assert leave in last
    assert f"{ESCAPE}[?25h" in last, "the cursor is back"
    assert "Traceback" not in last


def test_what_takes_long_says_so_on_a_terminal_and_is_gone_at_the_end(tmp_path):
    program = tmp_path / "slow.py"
    program.write_text(
        "import time\n"
        "from ckptd.cli.progress import progress\n"
        "with progress() as shown:\n"
        "    for _ in range(24):\n"
        "        shown.step('looking \\x1b[2J')\n"
        "        time.sleep(0.1)\n"
        "shown.step('too late')\n"
        "print('done')\n"
    )
    piped = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("done\n", "")
    leader, follower = pty.openpty()
    begun = time.monotonic()
    child = subprocess.Popen([sys.executable, program], stdout=follower, stderr=follower)
    os.close(follower)
    came = Screen(leader)()
    child.wait(PATIENCE)
    os.close(leader)
    took = time.monotonic() - begun
    assert took > PATIENT
    assert 1 <= came.count("looking") <= (took - PATIENT) / REDRAWN + 1, "not at once, then rarely"
    assert re.search(r"ckptd: looking \\x1b\[2J, [2-9] s\r\x1b\[K", came)
    assert "too late" not in came
    assert came.rstrip().endswith(f"{ESCAPE}[Kdone")


# What may hang is looked at in a thread, and a look of less than one turn says nothing then.
IMPATIENT = """
import sys
from ckptd.cli import main, progress
from ckptd.mounts import asking, table
progress.PATIENCE, asking.now = 0.0, table.Mounts
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ("plan", ""),
        ("apply", ""),
        ("status", ""),
        ("check", "--max-used", "100%", ""),
        ("advise", ""),
        ("adopt", ""),
        ("why", "/a/checkpoint-10"),
    ],
    ids=lambda words: words[0],
)
def test_whatever_looks_says_so_when_it_takes_long(ckptd, data, words):
    *command, place = words
    argv = (sys.executable, "-c", IMPATIENT, *command, "--state", ckptd.state, f"{data}{place}")
    with on_a_terminal(*argv) as (child, screen):
        shown = screen()
        assert child.wait(PATIENCE) == 0, shown
    assert "ckptd: looking" in shown


# --- two users ---------------------------------------------------------------------------

ALICE = 1500


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a service of root and a user")
def test_a_user_sees_their_own_runs_of_roots_service(ckptd, data, tmp_path):
    reachable(tmp_path, listed=False)
    write_run(data / "b")
    for path in (data / "b", *(data / "b").rglob("*")):
        shutil.chown(path, ALICE, ALICE)
    settings = tmp_path / "ckptd.toml"
    settings.write_text("")
    settings.chmod(0o644)
    ckptd.state.mkdir()
    ckptd.state.chmod(0o755)
    words = ("setpriv", "--reuid", str(ALICE), "--regid", str(ALICE), "--clear-groups")
    with watching(ckptd.state, data):
        answer = ckptd.json("status", "--config", settings, before=words)
        if "PermissionError" in answer.err or "No module" in answer.err:
            pytest.skip("the interpreter cannot be read by another user here")
        (report,) = answer.document["daemons"]
        assert [run["path"] for run in report["runs"]] == [f"{data}/b"]
        assert f"{data}/a" not in answer.out
        assert len(ckptd.json("status").document["daemons"][0]["runs"]) == 2
