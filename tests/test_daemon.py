"""The real process, `ckptd watch`, on real directories."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime

import pytest
from corpus import cut, set_times, write_checkpoint
from house import ckptd, names
from watching import notify_socket, watching

from ckptd.config import Configuration
from ckptd.daemon.reload import Reload

LOSSES = {step: 1 / step for step in range(10, 200, 10)}


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
        save = write_checkpoint(run, 20)
        complete = max(file.stat().st_mtime for file in save.iterdir())
        gone = datetime.fromisoformat(daemon.wait_for("evict", 10)["at"]).timestamp()
        assert gone - complete > 1.5


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
        closed = time.time()
        seen = datetime.fromisoformat(daemon.wait_for("recognised", 10)["at"]).timestamp()
        assert seen - closed < 4, "the close rang: it was not waited until it is quiet for long"


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
    took = []
    while len(took) < 3 and min(took, default=1.0) >= 1:  # a busy machine may need another try
        with watching(tmp_path / "state", tmp_path / "out") as daemon:
            daemon.process.send_signal(number)
            begin = time.monotonic()
            assert daemon.process.wait(10) == 0
            took.append(time.monotonic() - begin)
    assert min(took) < 1


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


def purging(place):
    """What lies in the trash of *place* and is being unlinked."""
    return list(place.glob(f".ckptd-trash/{os.geteuid()}/*purging"))


@pytest.mark.slow
def test_it_ends_in_the_midst_of_a_purge_and_the_next_start_finishes(tmp_path):
    run = tmp_path / "out"
    for step in (10, 20):
        save = write_checkpoint(run, step)
        for number in range(8_000):  # in both, so that they are usual here
            os.close(os.open(save / f"note-{number}.txt", os.O_CREAT | os.O_WRONLY))
        set_times(save, time.time() - 500 + step)
    arguments = (run, "--keep-last", "1", "--keep-best", "0", "--trash-for", "0s")
    with watching(tmp_path / "state", *arguments) as daemon:
        end = time.monotonic() + 30
        while not purging(tmp_path):  # without a sleep: it does not take long
            assert time.monotonic() < end
        daemon.process.terminate()
        assert daemon.process.wait(30) == 0  # how soon: bench_stop
    assert purging(tmp_path), "it was through already: this proves nothing"
    with watching(tmp_path / "state", *arguments) as daemon:
        assert daemon.wait_for("purge", 10)["outcome"] == "done"
        assert purging(tmp_path) == []


def test_reload_that_is_asked_for_is_said_at_once_but_not_before_the_first_look(
    tmp_path, monkeypatch
):
    with closing(notify_socket()) as manager, ckptd(tmp_path / "state", tmp_path) as daemon:
        manager.settimeout(1)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + manager.getsockname()[1:].decode())
        daemon.reload = Reload(Configuration(None, {}, [str(tmp_path)]))
        daemon.outside.serve()
        with closing(daemon.outside.service._notifier.socket):
            daemon.reconfigure()
            daemon.outside.reloaded(None)
            daemon.outside.ready()
            assert manager.recv(4096) == b"READY=1"
            daemon.reconfigure()
            assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            daemon.outside.reloaded(None)
            assert manager.recv(4096) == b"READY=1"
            with pytest.raises(TimeoutError):
                manager.recv(4096)
