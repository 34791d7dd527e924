"""Trainers that name their output directory nowhere: what is known of them is what was seen."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from corpus import write_checkpoint
from watching import until, watching

from ckptd.model import Use
from ckptd.observe.trainers import Trainers
from ckptd.procs import began

KEEP_ALL = ("--keep-last", "unlimited")
# Writes a save but for its marker, gathers for a while with nothing open, and ends it.
GATHERS = """
import json, os, sys, time
place, quiet, slow = sys.stdin.readline().strip(), float(sys.argv[1]), sys.argv[2] == "slow"
whole = json.loads(sys.stdin.readline())
os.mkdir(place)
for name, text in whole.items():
    if name == "trainer_state.json":
        continue
    with open(f"{place}/{name}", "wb") as file:
        file.write(bytes.fromhex(text))
        file.flush()
        time.sleep(1 if slow else 0)
time.sleep(quiet)
with open(f"{place}/trainer_state.json", "wb") as file:
    file.write(bytes.fromhex(whole["trainer_state.json"]))
time.sleep(60)
"""


@contextmanager
def trainer(save, pattern, *, quiet, slow):
    """One that writes *save* with the bytes of *pattern*, and names it nowhere."""
    files = {file.name: file.read_bytes().hex() for file in pattern.iterdir()}
    command = [sys.executable, "-c", GATHERS, str(quiet), "slow" if slow else "quick"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd="/") as process:
        process.stdin.write(f"{save}\n{json.dumps(files)}\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("slow", [True, False], ids=["seen to write", "quicker than a look"])
def test_a_trainer_that_gathers_longer_than_settle_finds_its_save_where_it_was(tmp_path, slow):
    run, pattern = tmp_path / "out", write_checkpoint(tmp_path / "pattern", 30)
    with watching(tmp_path / "state", run, *KEEP_ALL) as daemon:
        for step in (10, 20):
            write_checkpoint(run, step)
            daemon.wait_for("recognised", step)
        with trainer(run / "checkpoint-30", pattern, quiet=8, slow=slow):
            daemon.wait_for("recognised", 30)
        assert daemon.told("set_aside") == []


@pytest.mark.slow
@pytest.mark.parametrize("command", [["apply", "{}"], ["exec", "{}", "--", "true"]], ids=" ".join)
def test_one_that_begins_in_the_midst_of_a_gather_takes_nothing_from_it(tmp_path, command):
    run, pattern = tmp_path / "runs/out", write_checkpoint(tmp_path / "pattern", 30)
    for step in (10, 20):
        write_checkpoint(run, step, mtime=time.time() - 1000 + step)
    with trainer(run / "checkpoint-30", pattern, quiet=25, slow=False):
        assert until((run / "checkpoint-30/optimizer.pt").exists)
        time.sleep(7)
        words = [word.format(run.parent) for word in command]
        state = ["--state", str(tmp_path / "state")]
        subprocess.run([sys.executable, "-m", "ckptd", words[0], *state, *words[1:]], check=True)
        assert set(os.listdir(run)) == {f"checkpoint-{n}" for n in (10, 20, 30)}
        assert until((run / "checkpoint-30/trainer_state.json").exists, 40)


@pytest.mark.slow
def test_what_a_trainer_left_that_was_seen_and_has_died_is_set_aside(tmp_path):
    run, pattern = tmp_path / "out", write_checkpoint(tmp_path / "pattern", 30)
    with watching(tmp_path / "state", run, *KEEP_ALL) as daemon:
        for step in (10, 20):
            write_checkpoint(run, step)
            daemon.wait_for("recognised", step)
        with trainer(run / "checkpoint-30", pattern, quiet=60, slow=True) as process:
            assert until((run / "checkpoint-30/optimizer.pt").exists)
            time.sleep(7)
            assert daemon.told("set_aside") == []
            process.send_signal(signal.SIGKILL)
        daemon.wait_for("set_aside", 30, seconds=20)


def test_it_is_there_while_its_process_is():
    known = Trainers()
    with subprocess.Popen(["sleep", "60"]) as process:
        known.meet("/run", [], [Use("open", process.pid)], 100.0)
        assert known.was_met("/run")
        assert known.is_there("/run", 101.0)
        assert not known.is_there("/run", 100.0 + 3600), (
            "silent for longer than a collective may be"
        )
        assert not known.is_there("/another", 101.0)
        process.kill()
        process.wait()
        assert not known.is_there("/run", 101.0)
        assert known.was_met("/run")


def test_one_who_names_it_counts_as_long_as_it_lives():
    known = Trainers()
    with subprocess.Popen(["sleep", "60"]) as process:
        known.meet("/run", [Use("named", process.pid)], [], 100.0)
        assert known.is_there("/run", 100.0 + 1e6)
        process.kill()


def test_another_process_with_the_same_pid_is_another():
    births = iter([7, 8])
    known = Trainers(began=lambda _: next(births))
    known.meet("/run", [], [Use("open", 4711)], 0.0)
    assert not known.is_there("/run", 1.0)


def test_nobody_is_asked_for_again_at_once():
    known = Trainers()
    assert known.may_be_asked("/run", 0.0)
    known.meet("/run", [], [], 0.0)
    assert not known.may_be_asked("/run", 0.5)
    assert known.may_be_asked("/run", 1.0)


def test_a_process_began_and_a_dead_one_did_not():
    assert began(os.getpid()) == began(os.getpid()) > 0
    with subprocess.Popen(["true"]) as process:
        assert until(lambda: began(process.pid) is None), "not reaped yet, and dead"
