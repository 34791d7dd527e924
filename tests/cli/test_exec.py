"""`exec`: COMMAND runs as if nobody were there, and its checkpoints are looked after."""

import os
import pty
import signal
import subprocess
import sys
import time

import corpus
import pytest
from terminal import CKPTD, Terminal

HOUR = 3600
WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import corpus
run = Path(sys.argv[2])
for step in range(1, int(sys.argv[3]) + 1):
    corpus.write_checkpoint(run, step)
    time.sleep(float(sys.argv[4]))
"""


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def python(code, *words):
    return ("--", sys.executable, "-c", code, *words)


def started(ckptd, run, *command, **how):
    argv = (*CKPTD, "exec", "--state", str(ckptd.state), str(run), *command)
    return subprocess.Popen(argv, **how)


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def left(run):
    return {path.name for path in run.iterdir()}


# --- as if nobody were there -------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9),
        ("import os; os.kill(os.getpid(), 15)", 128 + 15),
    ],
)
def test_it_ends_as_command_ends(ckptd, run, code, status):
    assert ckptd.exec(run, *python(code)).status == status


def test_a_command_that_cannot_be_started_is_told_as_a_shell_does(ckptd, run, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    for command, status in (("no-such-command-anywhere", 127), (plain, 126), (tmp_path, 126)):
        answer = ckptd.exec(run, "--", command)
        assert (answer.status, "Traceback" in answer.err) == (status, False)
        assert str(command) in answer.err


def test_a_failure_of_its_own_is_125_and_command_never_runs(ckptd, run, tmp_path):
    ckptd.state.write_text("a file where the ledger's directory should be")
    answer = ckptd.exec(run, "--", "touch", tmp_path / "ran")
    assert answer.status == 125
    assert "Traceback" not in answer.err
    assert not (tmp_path / "ran").exists()


def test_input_and_output_pass_through_byte_by_byte(ckptd, run):
    text = bytes(range(128)) * 1000
    answer = ckptd.exec(run, "--", "cat", stdin=text)
    assert (answer.status, answer.out.encode()) == (0, text)


@pytest.mark.parametrize("trap", ["", "trap '' INT HUP USR1;"], ids=["plain", "as-nohup-does"])
def test_command_gets_the_environment_and_the_signals_it_would_have_without(ckptd, run, trap):
    code = """if True:
        import os
        print(sorted(os.environ.items()), os.getcwd(), os.listdir("/proc/self/fd"))
        told = ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Umask")
        print([line for line in open("/proc/self/status") if line.startswith(told)])
    """
    before = ("sh", "-c", f'{trap} exec "$@"', "sh")
    bare = subprocess.run(
        [*before, sys.executable, "-c", code], input=b"", capture_output=True, check=True
    )
    assert ckptd.exec(run, *python(code), before=before).out == bare.stdout.decode()


def test_only_the_first_pair_of_dashes_is_ours(ckptd, run):
    assert ckptd.exec(run, "--", "echo", "--", "--keep-last", "x").out == "-- --keep-last x\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_reaches_command_once(ckptd, run, tmp_path, number):
    heard = tmp_path / "heard"
    code = (
        "import signal, sys, time\n"
        f"def hear(number, frame):\n    open({str(heard)!r}, 'a').write(f'{{number}} ')\n"
        f"signal.signal({int(number)}, hear)\nopen({str(heard)!r}, 'a').close()\n"
        "for _ in range(15): time.sleep(0.1)\nsys.exit(7)\n"
    )
    process = started(ckptd, run, *python(code), stderr=subprocess.DEVNULL)
    until(heard.exists)
    process.send_signal(number)
    assert process.wait(20) == 7
    assert heard.read_text() == f"{int(number)} "


def test_control_c_on_a_terminal_reaches_command_once(ckptd, run, tmp_path):
    heard = tmp_path / "heard"
    code = (
        "import signal, sys, time\n"
        f"def hear(number, frame):\n    open({str(heard)!r}, 'a').write('x')\n"
        f"signal.signal(signal.SIGINT, hear)\nopen({str(heard)!r}, 'a').close()\n"
        "for _ in range(15): time.sleep(0.1)\nsys.exit(7)\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable,
            [*CKPTD, "exec", "--state", str(ckptd.state), str(run), *python(code)],
        )
    try:
        until(heard.exists)
        os.write(terminal, b"\x03")
        until(heard.read_text)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 7
    assert heard.read_text() == "x"


def test_command_outlives_a_ckptd_that_is_killed(ckptd, run, tmp_path):
    alive = tmp_path / "alive"
    script = f"sleep 1.5; touch {alive}.after"
    process = started(ckptd, run, "--", "sh", "-c", f"touch {alive}; {script}")
    until(alive.exists)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    until((tmp_path / "alive.after").exists)


# --- where to look -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["two-words", "equals", "yaml", "json", "shell"])
def test_it_finds_where_command_saves(ckptd, run, tmp_path, how):
    corpus.write_checkpoint(run, 1, mtime=time.time() - 9 * HOUR)
    corpus.write_checkpoint(run, 2, mtime=time.time() - 8 * HOUR)
    (tmp_path / "t.yaml").write_text(f"model: x\noutput_dir: {run}\n")
    (tmp_path / "t.json").write_text(f'{{"output_dir": "{run}"}}')
    words = {
        "two-words": ("--", "true", "--output_dir", run),
        "equals": ("--", "true", f"--output-dir={run}"),
        "yaml": ("--", "true", tmp_path / "t.yaml"),
        "json": ("--", "true", tmp_path / "t.json"),
        "shell": ("--", "sh", "-c", f"true --output_dir {run}"),
    }[how]
    assert ckptd.exec("--keep-last", "1", *words).status == 0
    assert left(run) == {"checkpoint-2"}


def test_where_nothing_tells_it_says_which_path_to_give(ckptd, tmp_path):
    for words in (("--", "touch", tmp_path / "ran"), (), ("--",)):
        answer = ckptd.exec(*words)
        assert answer.status == 2
        assert "ckptd exec" in answer.err
    assert not (tmp_path / "ran").exists()


def test_an_output_directory_that_does_not_exist_yet_is_watched_once_it_does(ckptd, tmp_path):
    late = tmp_path / "not" / "yet"
    here = os.path.dirname(corpus.__file__)
    answer = ckptd.exec("--keep-last", "1", late, *python(WRITER, here, late, "2", "0"))
    assert answer.status == 0, answer.err
    assert left(late) == {"checkpoint-2"}


# --- what it does ------------------------------------------------------------------------


def test_a_wreck_is_set_aside_before_command_starts(ckptd, run):
    corpus.write_checkpoint(run, 1, mtime=time.time() - 9 * HOUR)
    wreck = corpus.write_checkpoint(run, 2, state=False, mtime=time.time() - 8 * HOUR)
    corpus.cut(wreck / "optimizer.pt", 100)
    answer = ckptd.exec(run, "--", "ls", run)
    assert answer.out == "checkpoint-1\n"
    assert ckptd.restore(wreck).status == 0


def test_what_was_saved_is_thinned_out_while_command_runs_and_at_its_end(ckptd, run, tmp_path):
    here = os.path.dirname(corpus.__file__)
    seen = tmp_path / "seen"
    code = (
        WRITER + f"    open({str(seen)!r}, 'w').write(str(sorted(p.name for p in run.iterdir())))\n"
    )
    answer = ckptd.exec("--keep-last", "2", run, *python(code, here, run, "4", "3.5"))
    assert answer.status == 0, answer.err
    assert seen.read_text() == "['checkpoint-3', 'checkpoint-4']"
    assert left(run) == {"checkpoint-3", "checkpoint-4"}


def test_fast_saves_are_thinned_out_once_it_is_calm(ckptd, run):
    here = os.path.dirname(corpus.__file__)
    answer = ckptd.exec("--keep-last", "1", run, *python(WRITER, here, run, "12", "0.05"))
    assert answer.status == 0, answer.err
    assert left(run) == {"checkpoint-12"}
