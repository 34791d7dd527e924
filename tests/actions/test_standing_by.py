"""Two ckptds where one must act: real processes, by every pair of names that one place can have."""

import os
import statistics
import subprocess
import time
from contextlib import contextmanager

import pytest
from corpus import write_checkpoint
from house import names
from watching import until, watching

# How often the first is killed for each pair of names.
KILLS = int(os.environ.get("CKPTD_KILLS", "1"))
POLICY = ("--keep-last", "1", "--keep-best", "0", "--trash-for", "0s")


@pytest.fixture(scope="module")
def took():
    """How long each take-over took, told at the end."""
    seconds = []
    yield seconds
    if seconds:
        middle, most = statistics.median(seconds), max(seconds)
        print(f"\n{len(seconds)} take-overs: median {middle:.2f} s, longest {most:.2f} s")


@contextmanager
def bound(place, where):
    """*place* at *where* as well."""
    where.mkdir()
    subprocess.run(["mount", "--bind", place, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


@pytest.fixture
def by_name(tmp_path):
    """The directory `top/out`, a run, by the names that the tests speak of."""
    run = tmp_path / "top" / "out"
    run.mkdir(parents=True)
    (tmp_path / "link").symlink_to(run)
    named = {
        "run": run,
        "above": run.parent,
        "link": tmp_path / "link",
        "dots": run / ".." / "out",
    }
    if os.geteuid() != 0:
        yield named
        return
    with bound(run, tmp_path / "bound"), bound(run.parent, tmp_path / "bound-above"):
        yield named | {"bound": tmp_path / "bound", "bound-above": tmp_path / "bound-above"}


PAIRS = [
    ("run", "run"),
    ("above", "run"),
    ("run", "above"),
    ("run", "link"),
    ("dots", "run"),
    ("run", "bound"),
    ("bound", "run"),
    ("bound", "above"),
    ("above", "bound"),
    ("bound-above", "above"),
    ("bound", "bound-above"),
]


def acts(daemon, step):
    """Waits until *daemon* has let go of the save at *step*."""
    assert until(lambda: step in gone(daemon)), daemon.events


def gone(daemon):
    """The steps of what *daemon* let go of."""
    return {event["step"] for event in daemon.told("evict") if event["outcome"] == "done"}


def stands_by(daemon):
    said = [e for e in daemon.told("refuse") if "stands by" in e["message"]]
    return said[-1]["message"] if said else ""


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_one_acts_the_other_says_that_it_stands_by_and_takes_over(
    by_name, tmp_path, took, first, second
):
    if {first, second} - by_name.keys():
        pytest.skip("a bind mount needs root")
    run = by_name["run"]
    for nth in range(KILLS):
        base = 100 * nth
        with watching(tmp_path / "one", by_name[first], *POLICY) as acting:
            write_checkpoint(run, base + 10)
            write_checkpoint(run, base + 20)
            acts(acting, base + 10)
            with watching(tmp_path / "two", by_name[second], *POLICY) as waiting:
                write_checkpoint(run, base + 30)
                acts(acting, base + 20)
                write_checkpoint(run, base + 40)
                acts(acting, base + 30)
                assert until(lambda: stands_by(waiting)), waiting.events
                assert "another ckptd acts" in stands_by(waiting)
                assert gone(waiting) == set()
                acting.process.kill()
                acting.process.wait()
                begun = time.monotonic()
                write_checkpoint(run, base + 50)
                acts(waiting, base + 40)
                took.append(time.monotonic() - begun)
                assert names(run) == {f"checkpoint-{base + 50}"}
                assert base + 40 not in gone(acting)
