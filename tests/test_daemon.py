"""The real process, `ckptd watch`, on real directories."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from corpus import cut, write_checkpoint
from house import names

ROOMY = ["--high", "99.9%", "--low", "99.8%", "--hard", "100%"]
LOSSES = {step: 1 / step for step in range(10, 200, 10)}


class Watching:
    """A running `ckptd watch`; `events` are the records it told, as they arrive."""

    def __init__(self, process):
        self.process = process
        self.events = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.events.append(json.loads(line))

    def told(self, event, step=None):
        return [e for e in self.events if e["event"] == event and step in (None, e["step"])]

    def wait_for(self, event, step=None, *, seconds=15.0):
        assert until(lambda: self.told(event, step), seconds), self.events
        return self.told(event, step)[-1]


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not (came := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return came


@contextmanager
def watching(state, *arguments):
    command = [sys.executable, "-m", "ckptd", "watch", "--json", "--state", str(state), *ROOMY]
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(f"\0ckptd-test-{os.getpid()}-{time.monotonic_ns()}")
    ready.settimeout(15)
    environment = os.environ | {"NOTIFY_SOCKET": "@" + ready.getsockname()[1:].decode()}
    process = subprocess.Popen(
        [*command, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert ready.recv(64) == b"READY=1"
        yield Watching(process)
    finally:
        ready.close()
        process.kill()
        process.wait()
        process.stderr.close()


def test_each_save_is_seen_and_what_no_rule_keeps_goes(tmp_path):
    run = tmp_path / "out"
    with watching(tmp_path / "state", run, "--keep-last", "2") as daemon:
        for step in (10, 20, 30):
            write_checkpoint(run, step, history=LOSSES)
            daemon.wait_for("recognised", step)
        daemon.wait_for("evict", 10)
        assert names(run) == {"checkpoint-20", "checkpoint-30"}


def test_nothing_goes_within_two_seconds_of_a_save(tmp_path):
    run = tmp_path / "out"
    with watching(tmp_path / "state", run, "--keep-last", "1", "--keep-best", "0") as daemon:
        write_checkpoint(run, 10)
        write_checkpoint(run, 20)
        daemon.wait_for("recognised", 20)
        seen = time.monotonic()
        daemon.wait_for("evict", 10)
        assert time.monotonic() - seen > 1.8


def test_a_watch_may_come_later_and_go_and_come_back(tmp_path):
    run = tmp_path / "a" / "b" / "out"
    with watching(tmp_path / "state", run, "--keep-last", "1", "--keep-best", "0") as daemon:
        write_checkpoint(run, 10)
        daemon.wait_for("recognised", 10)
        shutil.rmtree(tmp_path / "a")
        time.sleep(0.5)
        write_checkpoint(run, 20)
        daemon.wait_for("recognised", 20)
        write_checkpoint(run, 30)
        daemon.wait_for("evict", 20)
        assert daemon.process.poll() is None


def test_a_run_born_in_a_new_subdirectory_is_seen(tmp_path):
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/runs"\n[policy]\nkeep_last = 1\n')
    (tmp_path / "runs").mkdir()
    write_checkpoint(tmp_path / "runs" / "old", 10)
    write_checkpoint(tmp_path / "runs" / "old", 20)
    with watching(tmp_path / "state", "--config", config) as daemon:
        new = tmp_path / "runs" / "deep" / "v0-20260101-120000"
        write_checkpoint(new, 10)
        daemon.wait_for("adopt")
        write_checkpoint(new, 20)
        daemon.wait_for("evict", 10)
    assert names(tmp_path / "runs" / "old") == {"checkpoint-10", "checkpoint-20"}


def test_a_slow_save_is_complete_only_when_its_marker_is_closed(tmp_path):
    run = tmp_path / "out"
    save = write_checkpoint(tmp_path / "elsewhere", 10)
    with watching(tmp_path / "state", run) as daemon:
        target = run / "checkpoint-10"
        target.mkdir(parents=True)
        for name in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"):
            data = (save / name).read_bytes()
            with (target / name).open("wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                time.sleep(0.3)
                file.write(data[len(data) // 2 :])
                file.flush()
                time.sleep(0.3)
                assert daemon.told("recognised") == []
        daemon.wait_for("recognised", 10, seconds=2)


def test_a_wreck_is_told_once_and_set_aside(tmp_path):
    run = tmp_path / "out"
    write_checkpoint(run, 10, mtime=time.time() - 500)
    wreck = write_checkpoint(run, 20, state=False, mtime=time.time() - 400)
    cut(wreck / "optimizer.pt", 1000)
    with watching(tmp_path / "state", run) as daemon:
        daemon.wait_for("set_aside", 20)
        time.sleep(1)
        assert len(daemon.told("broken")) == 1
        assert names(run) == {"checkpoint-10"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_a_second(tmp_path, number):
    with watching(tmp_path / "state", tmp_path / "out") as daemon:
        daemon.process.send_signal(number)
        begin = time.monotonic()
        assert daemon.process.wait(5) == 0
        assert time.monotonic() - begin < 1


def test_killed_and_restarted_it_goes_on(tmp_path):
    run = tmp_path / "out"
    arguments = (run, "--keep-last", "1", "--keep-best", "0")
    with watching(tmp_path / "state", *arguments) as daemon:
        write_checkpoint(run, 10)
        daemon.wait_for("recognised", 10)
        os.kill(daemon.process.pid, signal.SIGKILL)
    write_checkpoint(run, 20)
    with watching(tmp_path / "state", *arguments) as daemon:
        daemon.wait_for("evict", 10)
        assert names(run) == {"checkpoint-20"}


def test_the_second_takes_over_when_the_first_dies(tmp_path):
    run = tmp_path / "out"
    arguments = (run, "--keep-last", "1", "--keep-best", "0")
    with watching(tmp_path / "one", *arguments) as first:
        write_checkpoint(run, 10)
        write_checkpoint(run, 20)
        first.wait_for("evict", 10)
        with watching(tmp_path / "two", *arguments) as second:
            write_checkpoint(run, 30)
            first.wait_for("evict", 20)
            write_checkpoint(run, 40)
            first.process.kill()
            second.wait_for("evict", 30)


def test_bad_configuration_ends_with_2_and_one_sentence(tmp_path):
    command = [sys.executable, "-m", "ckptd", "watch", "--keep-last", "-1", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "unlimited" in ended.stderr
    assert "Traceback" not in ended.stderr
