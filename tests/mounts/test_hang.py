"""A real ckptd beside a filesystem that stops answering: the others do not notice."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from corpus import write_checkpoint
from hanging import hanging, lacking
from house import names
from watching import notify_socket, until, watching

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
]

KEEP_ONE = ("--keep-last", "1", "--keep-best", "0")
# A manager that would restart what it does not hear of within so many microseconds.
WATCHDOG = {"WATCHDOG_USEC": "2000000"}


@pytest.fixture
def hung(tmp_path):
    with hanging(tmp_path / "elsewhere") as filesystem:
        yield filesystem


@contextmanager
def small(place):
    """A disk of 64 MiB."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Manager:
    """Listens to a service, and when it heard what."""

    def __init__(self):
        self.socket = notify_socket()
        self.heard = []

    def listen(self):
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            while told := self.socket.recv(4096):
                self.heard.append((time.monotonic(), told))
        except OSError:
            return

    def longest_silence(self, since):
        pings = [when for when, told in self.heard if told == b"WATCHDOG=1" and when > since]
        moments = [since, *pings, time.monotonic()]
        return max(after - before for before, after in itertools.pairwise(moments))


@contextmanager
def managed(tmp_path, hung, *arguments):
    """ckptd under a manager that listens, with what it tells. At the end *hung* answers again:

    the kernel ends nobody whose question a server has read and does not answer.
    """
    manager = Manager()
    with watching(tmp_path / "state", *arguments, manager=manager.socket, **WATCHDOG) as daemon:
        manager.listen()
        try:
            yield daemon, manager
        finally:
            hung.go_on()


def threads_of(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/task"))


def told_of(daemon, path, event):
    return [e for e in daemon.told(event) if e["run"] == str(path)]


def ckptd(*words):
    command = [sys.executable, "-m", "ckptd", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_one_that_hangs_at_the_start_does_not_keep_the_others_from_being_looked_after(
    tmp_path, hung
):
    (hung.path / "far").mkdir()
    near = tmp_path / "near"
    hung.stop()
    with managed(tmp_path, hung, near, hung.path / "far", *KEEP_ONE) as (daemon, manager):
        begun = time.monotonic()
        for step in (10, 20):
            write_checkpoint(near, step)
        daemon.wait_for("evict", 10)
        assert names(near) == {"checkpoint-20"}
        alarm = told_of(daemon, hung.path / "far", "unreadable")
        assert len(alarm) == 1
        assert "has not answered since" in alarm[0]["reason"]
        assert "umount" in alarm[0]["reason"]
        assert manager.longest_silence(begun) < 3


def test_one_that_begins_to_hang_is_told_of_once_and_looked_after_again_when_it_answers(
    tmp_path, hung
):
    far, near = hung.path / "far", tmp_path / "near"
    far.mkdir()
    with managed(tmp_path, hung, near, far, *KEEP_ONE) as (daemon, manager):
        write_checkpoint(far, 10)
        daemon.wait_for("recognised", 10)
        before, begun = threads_of(daemon), time.monotonic()
        hung.stop()
        assert until(lambda: told_of(daemon, far, "unreadable"))
        for step in range(20, 26):  # many looks
            write_checkpoint(near, step)
            daemon.wait_for("recognised", step)
            time.sleep(0.5)
        daemon.wait_for("evict", 24)
        assert threads_of(daemon) <= before + 2, "one waits, and the others do not pile up"
        assert len(told_of(daemon, far, "unreadable")) == 1
        assert manager.longest_silence(begun) < 3
        hung.go_on()
        assert until(lambda: told_of(daemon, far, "watch"))
        assert "answers again" in told_of(daemon, far, "watch")[0]["reason"]
        assert len(daemon.told("recognised", 10)) == 1, "it was there all the while"
        write_checkpoint(far, 30)
        daemon.wait_for("evict", 10)
        assert names(far) == {"checkpoint-30"}
        assert until(lambda: threads_of(daemon) <= before)


@pytest.mark.parametrize("opcode", ["GETATTR", "READDIR", "STATFS", "OPEN"])
def test_one_that_hangs_in_the_middle_of_a_look_does_not_keep_the_others(tmp_path, hung, opcode):
    far, near = hung.path / "far", tmp_path / "near"
    far.mkdir()
    with managed(tmp_path, hung, near, far, *KEEP_ONE) as (daemon, manager):
        begun = time.monotonic()
        hung.hold(opcode)
        write_checkpoint(hung.backing / "far", 10)  # beside it, so that the look has what to ask
        for step in (20, 30):
            write_checkpoint(near, step)
        daemon.wait_for("evict", 20)
        assert until(lambda: told_of(daemon, far, "unreadable"))
        assert manager.longest_silence(begun) < 3
        hung.go_on()
        assert until(lambda: told_of(daemon, far, "watch"))


@pytest.mark.parametrize(("opcode", "act"), [("RENAME2", "evict"), ("UNLINK", "purge")])
def test_an_act_that_hangs_has_its_outcome_when_it_comes_and_others_are_relieved(
    tmp_path, hung, opcode, act
):
    far = hung.path / "far"
    far.mkdir()
    with small(tmp_path / "small") as near:
        run = near / "run"
        arguments = (run, far, "--keep-last", "2", "--keep-best", "0", "--high", "50%")
        marks = ("--low", "40%", "--trash-for", "0s", "--pressure-keep-last", "1")
        with managed(tmp_path, hung, *arguments, *marks) as (daemon, manager):
            hung.hold(opcode)
            for step in (10, 20, 30):
                write_checkpoint(far, step)
            # It hangs in the act: then nothing is told of its end.
            assert until(lambda: told_of(daemon, far, "unreadable"), 60)
            begun = time.monotonic()
            for step in (40, 50):
                write_checkpoint(run, step, size=7 * 2**20)  # and an optimizer of twice that
            assert until(lambda: names(run) == {"checkpoint-50"}, 20)
            assert time.monotonic() - begun < 20
            assert daemon.told(act, 10) == []
            assert manager.longest_silence(begun) < 3
            hung.go_on()
            came = daemon.wait_for(act, 10)
            assert came["outcome"] in {"done", "dropped", "failed"}
            assert until(lambda: names(far) == {"checkpoint-20", "checkpoint-30"}, 60)
            assert until(lambda: not list(hung.backing.rglob("*purging")))


@pytest.mark.parametrize("held", ["everything", "UNLINK"])
def test_a_signal_ends_it_within_a_second_while_one_hangs(tmp_path, hung, held):
    far = hung.path / "far"
    far.mkdir()
    with managed(tmp_path, hung, tmp_path / "near", far, *KEEP_ONE) as (daemon, _):
        hung.stop()
        assert until(lambda: told_of(daemon, far, "unreadable"), 60)
        daemon.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert daemon.process.wait(10) == 0
        assert time.monotonic() - begun < 3, "a second, and what a busy machine adds"


def test_a_signal_ends_it_while_it_waits_for_an_answer(tmp_path, hung):
    far = hung.path / "far"
    far.mkdir()
    with managed(tmp_path, hung, far) as (daemon, _):
        hung.stop()
        daemon.process.send_signal(signal.SIGHUP)  # a look begins
        time.sleep(1)
        daemon.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert daemon.process.wait(10) == 0
        assert time.monotonic() - begun < 3


def test_what_a_process_names_on_a_filesystem_that_hangs_keeps_nobody(tmp_path, hung):
    (hung.path / "data").mkdir()
    near = tmp_path / "near"
    link = tmp_path / "link"
    link.symlink_to(hung.path)
    command = [sys.executable, "-c", "input()", hung.path / "data" / "x", link / "data" / "y"]
    process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE)
    try:
        with managed(tmp_path, hung, near, *KEEP_ONE) as (daemon, manager):
            begun = time.monotonic()
            hung.stop()
            for step in (10, 20):
                write_checkpoint(near, step)
            daemon.wait_for("evict", 10)
            assert manager.longest_silence(begun) < 3
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


def test_one_that_is_mounted_within_a_watch_keeps_nothing_else_of_it(tmp_path):
    watch = tmp_path / "watch"
    with hanging(watch / "mounted") as hung:
        hung.stop()
        with managed(tmp_path, hung, watch, *KEEP_ONE) as (daemon, _):
            for step in (10, 20):
                write_checkpoint(watch / "near", step)
            daemon.wait_for("evict", 10)
            text = "another filesystem is mounted here"
            assert text in told_of(daemon, hung.path, "unreadable")[0]["reason"]


def test_a_glob_beside_one_that_hangs_names_the_others(tmp_path):
    watch = tmp_path / "all"
    (watch / "near").mkdir(parents=True)
    config = tmp_path / "ckptd.toml"
    config.write_text(
        f'[[watch]]\npath = "{watch}/*/out"\n[policy]\nkeep_last = 1\nkeep_best = 0\n'
    )
    with hanging(watch) as hung:
        hung.stop()
        with managed(tmp_path, hung, "--config", config) as (daemon, _):
            write_checkpoint(watch / "near" / "out", 10)
            daemon.process.send_signal(signal.SIGHUP)
            time.sleep(1)
            write_checkpoint(watch / "near" / "out", 20)
            assert until(lambda: told_of(daemon, hung.path / "out", "unreadable"))


def test_commands_answer_within_seconds_of_what_they_can_see(tmp_path, hung):
    near, far = tmp_path / "near", hung.path / "far"
    write_checkpoint(near, 10)
    save = write_checkpoint(far, 10)
    hung.stop()
    state = ("--state", tmp_path / "state")
    begun = time.monotonic()
    planned = ckptd("plan", "--json", *state, near, far)
    told = json.loads(planned.stdout)
    assert [run["path"] for run in told["runs"]] == [str(near)]
    assert (
        "has not answered" in {each["path"]: each["error"] for each in told["unreadable"]}[str(far)]
    )
    assert ckptd("apply", *state, near, far).returncode == 4
    checked = ckptd("check", *state, near, far)
    assert checked.returncode == 4
    assert "has not answered" in checked.stdout
    assert "has not answered" in ckptd("status", *state, near, far).stdout
    why = ckptd("why", *state, save)
    assert why.returncode == 4
    assert "has not answered" in why.stderr
    assert "Traceback" not in why.stderr
    assert time.monotonic() - begun < 90


@pytest.mark.parametrize(
    "words",
    [
        ("pin", "checkpoint-10"),
        ("unpin", "checkpoint-10"),
        ("restore", "checkpoint-10"),
        ("adopt", ""),
        ("advise", ""),
        ("simulate", ""),
        ("config", ""),
        ("why", "checkpoint-10"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("through", ["its path", "a link"])
def test_a_command_for_what_does_not_answer_says_so(tmp_path, hung, words, through):
    far = hung.path / "far"
    write_checkpoint(far, 10)
    link = tmp_path / "link"
    link.symlink_to(far)
    command, name = words
    state = () if command == "config" else ("--state", tmp_path / "state")
    hung.stop()
    begun = time.monotonic()
    said = ckptd(command, *state, (link if through == "a link" else far) / name)
    assert time.monotonic() - begun < 30
    assert said.returncode != 0
    assert "has not answered" in said.stderr
    assert "Traceback" not in said.stderr


def test_history_of_what_does_not_answer_is_there(tmp_path, hung):
    hung.stop()
    told = ckptd("history", "--state", tmp_path / "state", hung.path / "far")
    assert told.returncode == 0, told.stderr


def test_a_configuration_on_a_filesystem_that_hangs_stays_in_force(tmp_path, hung):
    near, config = tmp_path / "near", hung.path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{near}"\n[policy]\nkeep_last = 1\nkeep_best = 0\n')
    with managed(tmp_path, hung, "--config", config) as (daemon, manager):
        begun = time.monotonic()
        hung.stop()
        for step in (10, 20):
            write_checkpoint(near, step)
        daemon.wait_for("evict", 10)
        assert manager.longest_silence(begun) < 8, "5 s of them for the configuration, once"
        hung.go_on()
        config.write_text(f'[[watch]]\npath = "{near}"\n[policy]\nkeep_last = 5\n')
        assert until(lambda: any("in force" in e["message"] for e in daemon.told("config")), 90)
