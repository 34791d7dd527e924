"""Bind mounts: the same filesystem under two names, which no device number tells apart."""

import os
import subprocess
import time
from contextlib import contextmanager

import pytest
from corpus import write_checkpoint
from house import ckptd, names
from terminal import contents

from ckptd import audit
from ckptd.beneath import opening

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts"),
]
LAST = {"policy__keep_last": 1, "policy__keep_best": 0}


@pytest.fixture
def run(tmp_path):
    """Three intact saves below `data`."""
    for step in (10, 20, 30):
        write_checkpoint(tmp_path / "data" / "out", step, mtime=time.time() - 1000 + step)
    return tmp_path / "data" / "out"


@pytest.fixture
def precious(tmp_path):
    """What a person keeps elsewhere, on the same filesystem."""
    place = tmp_path / "precious"
    write_checkpoint(place / "run", 1, mtime=time.time() - 5000)
    write_checkpoint(place / "run", 2, mtime=time.time() - 4000)
    (place / "thesis.txt").write_text("years of work")
    return place


@contextmanager
def bound(place, where):
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", place, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


@pytest.fixture(params=["openat2", "walk"])
def opener(request, monkeypatch):
    """With the kernel's own help, and as under a seccomp filter that forbids it."""
    if request.param == "walk":
        monkeypatch.setattr(opening, "_OPENERS", [opening.open_by_walk])
    return request.param


def settle(tmp_path, *watches, **options):
    told = []
    with ckptd(tmp_path / "state", *watches, told=told, **LAST, **options) as daemon:
        _, outcomes = daemon.settle(time.monotonic() + 3)
    return outcomes, told


@pytest.mark.parametrize("trash_for", ["1h", "0s"])
def test_a_run_under_two_watches_is_thinned_out_once(run, tmp_path, trash_for):
    with bound(run.parent, tmp_path / "view") as view:
        outcomes, _ = settle(tmp_path, run.parent, view, policy__trash_for=trash_for)
        assert names(run) == names(view / "out") == {"checkpoint-30"}
    assert sorted(o.action.checkpoint.step for o in outcomes if o.ok) == [10, 20]


@pytest.mark.parametrize("trash_for", ["1h", "0s"])
def test_what_is_bound_into_a_save_is_never_crossed(run, precious, tmp_path, trash_for, opener):
    before = contents(precious)
    with bound(precious, run / "checkpoint-10" / "mnt"):
        settle(tmp_path, run.parent, policy__trash_for=trash_for)
        settle(tmp_path, run.parent, policy__trash_for="1ms")
        assert contents(precious) == before
        assert names(run) == {"checkpoint-10", "checkpoint-30"}


@pytest.mark.parametrize("trash_for", ["1h", "0s"])
def test_what_is_bound_into_a_run_is_left_alone(run, precious, tmp_path, trash_for, opener):
    before = contents(precious)
    with bound(precious, run / "mnt"):
        settle(tmp_path, run.parent, policy__trash_for=trash_for)
        assert names(run) == {"checkpoint-30"}
        assert contents(precious) == before


@pytest.mark.parametrize("trash_for", ["1h", "0s"])
def test_a_save_that_is_a_mount_itself_stays(run, tmp_path, trash_for, opener):
    other = write_checkpoint(tmp_path / "elsewhere", 10, mtime=time.time() - 990)
    before = contents(other), contents(run / "checkpoint-10")
    with bound(other, run / "checkpoint-10"):
        _, told = settle(tmp_path, run.parent, policy__trash_for=trash_for)
        said = [audit.sentence(record) for record in told if record.event == "unreadable"]
        assert len(said) == 1
        assert "another filesystem is mounted here; name it as a watch of its own" in said[0]
        assert contents(other) == before[0]
        assert names(run) == {"checkpoint-10", "checkpoint-30"}
    assert contents(run / "checkpoint-10") == before[1]
