"""The real process obeys a configuration that changes while it watches."""

import os
import signal
import time

import pytest
from corpus import write_checkpoint
from house import names
from watching import notify_socket, until, watching

STEPS = (10, 20, 30, 40, 50)


@pytest.fixture
def run(tmp_path):
    place = tmp_path / "lab" / "experiment" / "run"
    for step in STEPS:
        write_checkpoint(place, step, mtime=time.time() - 1000 + step)
    return place


def configured(tmp_path, text):
    """ckptd.toml with one watch that cares for all, and *text*."""
    file = tmp_path / "etc" / "ckptd.toml"
    file.parent.mkdir(exist_ok=True)
    head = f'[[watch]]\npath = "{tmp_path}/lab"\nadopt = "all"\n[policy]\nkeep_best = 0\n'
    (file.parent / "new").write_text(head + text)
    (file.parent / "new").rename(file)
    return file


def left(run, *steps):
    return until(lambda: names(run) == {f"checkpoint-{step}" for step in steps})


def test_a_changed_file_is_obeyed_and_says_first_what_it_costs(run, tmp_path):
    file = configured(tmp_path, "keep_last = 4\n")
    with watching(tmp_path / "state", "--config", file) as daemon:
        daemon.wait_for("evict", 10)
        configured(tmp_path, "keep_last = 2\n")
        assert left(run, 40, 50)
        daemon.wait_for("evict", 30)
        order = [e["event"] for e in daemon.events]
        cost = next(e for e in daemon.events if "what holds for 1 run changed" in e["message"])
        assert "2 checkpoints" in cost["message"]
        assert daemon.events.index(cost) < order.index("evict", order.index("config"))


def test_one_written_in_place_is_obeyed_whole(run, tmp_path):
    file = configured(tmp_path, "keep_last = 5\n")
    with watching(tmp_path / "state", "--config", file) as daemon:
        text = file.read_text()
        with file.open("w") as writing:  # empties it
            writing.flush()
            time.sleep(0.1)
            writing.write(text.replace("keep_last = 5", "keep_last = 3"))
        assert left(run, 30, 40, 50)
        assert [e["message"] for e in daemon.told("config") if e["outcome"] == "failed"] == []


def test_one_that_would_watch_nothing_leaves_the_old_in_force(run, tmp_path):
    file = configured(tmp_path, "keep_last = 5\n")
    with watching(tmp_path / "state", "--config", file) as daemon:
        file.write_text("[policy]\nkeep_last = 1\nkeep_best = 0\n")
        told = daemon.wait_for("config")
        assert "nothing would be watched" in told["message"]
        configured(tmp_path, "keep_last = 3\n")
        assert left(run, 30, 40, 50)


def test_a_broken_one_is_told_and_leaves_the_old_in_force(run, tmp_path):
    file = configured(tmp_path, "keep_last = 4\n")
    with watching(tmp_path / "state", "--config", file) as daemon:
        daemon.wait_for("evict", 10)
        configured(tmp_path, "keep_lst = 1\n")
        problem = daemon.wait_for("config")
        assert "keep_lst (line 6)" in problem["message"]
        assert problem["priority"] <= 4
        write_checkpoint(run, 60)
        daemon.wait_for("evict", 20)
        configured(tmp_path, "keep_last = 2\n")
        assert left(run, 50, 60)


def test_a_file_in_conf_d_appears_and_goes(run, tmp_path):
    file = configured(tmp_path, "keep_last = 5\n")
    (file.parent / "conf.d").mkdir()
    more = file.parent / "conf.d" / "10-tight.toml"
    with watching(tmp_path / "state", "--config", file) as daemon:
        more.write_text("[policy]\nkeep_last = 3\n")
        assert left(run, 30, 40, 50)
        more.unlink()
        assert until(lambda: len(daemon.told("config")) >= 3)
        write_checkpoint(run, 60)
        daemon.wait_for("recognised", 60)
        time.sleep(2.5)
        assert left(run, 30, 40, 50, 60)


def test_a_watch_that_is_added_is_watched(run, tmp_path):
    file = configured(tmp_path, "keep_last = 5\n")
    other = tmp_path / "other" / "run"
    write_checkpoint(other, 10, mtime=time.time() - 900)
    write_checkpoint(other, 20, mtime=time.time() - 800)
    with watching(tmp_path / "state", "--config", file):
        text = f'keep_last = 1\n[[watch]]\npath = "{tmp_path}/other"\nadopt = "all"\n'
        configured(tmp_path, text)
        assert left(other, 20)
        assert left(run, 50)


def test_sighup_reads_it_again_and_tells_systemd(run, tmp_path):
    file = configured(tmp_path, "keep_last = 5\n")
    manager = notify_socket()
    with watching(tmp_path / "state", "--config", file, manager=manager) as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        heard = []
        while not any(text.startswith("RELOADING=1\nMONOTONIC_USEC=") for text in heard):
            heard.append(manager.recv(4096).decode())
        while manager.recv(4096) != b"READY=1":
            pass
        assert "in force: mode enforce, 1 watch (" in daemon.wait_for("config")["message"]


def test_a_drop_in_appears_changes_breaks_is_mended_and_goes(run, tmp_path):
    file = configured(tmp_path, "keep_last = 5\n")
    drop_in = run.parent / ".ckptd.toml"
    with watching(tmp_path / "state", "--config", file) as daemon:
        drop_in.write_text("[policy]\nkeep_last = 4\n")
        assert left(run, 20, 30, 40, 50)
        drop_in.write_text("[policy]\nkeep_last = 3\n")
        assert left(run, 30, 40, 50)
        drop_in.write_text("[policy]\nkeep_last = 1 # [\n[")
        assert "keep_last" not in daemon.wait_for("frozen")["message"]
        write_checkpoint(run, 60)
        write_checkpoint(run, 70)
        daemon.wait_for("recognised", 70)
        time.sleep(2.5)
        assert left(run, 30, 40, 50, 60, 70)
        drop_in.write_text("[policy]\nkeep_last = 2\n")
        assert left(run, 60, 70)
        drop_in.unlink()
        write_checkpoint(run, 80)
        daemon.wait_for("recognised", 80)
        time.sleep(2.5)
        assert left(run, 60, 70, 80)


def test_status_is_said_in_utf_8_and_the_watchdog_hears_from_us(tmp_path):
    run = tmp_path / "检查点"
    write_checkpoint(run, 10)
    manager = notify_socket()
    period = {"WATCHDOG_USEC": "400000"}
    with watching(tmp_path / "state", run, manager=manager, **period) as daemon:
        heard = []
        write_checkpoint(run, 20)
        until(lambda: heard.append(manager.recv(4096).decode()) or heard.count("WATCHDOG=1") > 3)
        assert heard.count("WATCHDOG=1") > 3
        assert any(line.startswith("STATUS=") and "检查点" in line for line in heard), heard
        os.kill(daemon.process.pid, signal.SIGTERM)
        until(lambda: heard.append(manager.recv(4096).decode()) or "STOPPING=1" in heard)
        assert "STOPPING=1" in heard


def test_what_is_not_adopted_is_said_and_what_adopting_it_costs(run, tmp_path):
    file = tmp_path / "ckptd.toml"
    text = f'[[watch]]\npath = "{tmp_path}/lab"\n[policy]\nkeep_best = 0\nkeep_last = 1\n'
    file.write_text(text)
    with watching(tmp_path / "state", "--config", file) as daemon:
        assert "in 1 run not adopted; ckptd adopt PATH" in daemon.wait_for("watch")["message"]
        file.write_text(text.replace("[policy]", 'adopt = "all"\n[policy]'))
        assert left(run, 50)
        told = [event["message"] for event in daemon.told("config")]
        assert any("4 checkpoints" in message for message in told), told
