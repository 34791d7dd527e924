"""`[policy.finished]` on real runs: one that somebody still uses is not over."""

import subprocess
import sys
import time

import corpus
import pytest
from house import ckptd, names
from terminal import Terminal

DAY = 86_400
ALL = {"checkpoint-10", "checkpoint-20", "checkpoint-30"}


@pytest.fixture
def run(tmp_path):
    """A run that saved every ten minutes, the last time two days ago."""
    place = tmp_path / "runs" / "a"
    for step in (10, 20, 30):
        corpus.write_checkpoint(place, step, mtime=time.time() - 2 * DAY - 600 * (30 - step))
    return place


@pytest.fixture
def user(run):
    """A process that names the run, as a notebook would, until it is closed."""
    command = [sys.executable, "-S", "-c", "print(flush=True); input()", str(run)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.readline()
        yield process


def close(user):
    user.stdin.close()
    user.wait()


def test_a_run_that_is_over_is_left_its_last(tmp_path, run):
    answer = Terminal(tmp_path / "state").apply("--finished-keep-last", "1", "--json", run)

    assert [each["finished"] for each in answer.document["runs"]] == [True]
    assert names(run) == {"checkpoint-30"}


def test_what_finished_after_has_not_passed_for_is_kept_by_the_policy(tmp_path, run):
    options = ["--finished-keep-last", "1", "--finished-after", "3d"]

    answer = Terminal(tmp_path / "state").apply(*options, "--json", run)

    assert [each["finished"] for each in answer.document["runs"]] == [False]
    assert names(run) == ALL


def test_a_run_that_a_process_names_is_not_over(tmp_path, run, user):
    options = ["--finished-keep-last", "1", run]

    Terminal(tmp_path / "state").apply(*options)
    assert names(run) == ALL

    close(user)
    Terminal(tmp_path / "state").apply(*options)
    assert names(run) == {"checkpoint-30"}


def test_a_daemon_that_looked_without_asking_asks_before_it_acts(tmp_path, run, user):
    with ckptd(tmp_path / "state", run, policy__finished__keep_last=1) as daemon:
        (unasked,) = daemon.eyes.look(users=False).world.runs
        daemon.cycle()
        assert unasked.finished
        assert names(run) == ALL

        close(user)
        daemon.cycle()
        assert names(run) == {"checkpoint-30"}
