"""Where a refuge is made, and when."""

import os
import subprocess

import pytest
from corpus import write_checkpoint

from ckptd.actions import refuge
from ckptd.ledger import Ledger, Record

NAME = f"{os.geteuid()}.intents"


@pytest.fixture
def ledger(tmp_path):
    with Ledger(str(tmp_path / "state")) as ledger:
        yield ledger


@pytest.fixture
def small(tmp_path):
    """A filesystem with 4 MiB, less than what a training may need the next moment."""
    if os.geteuid():
        pytest.skip("mounting a small filesystem needs root")
    point = tmp_path / "small"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", point], check=True)
    yield point
    subprocess.run(["umount", "--lazy", point], check=True)


def never(path):
    return False


def test_it_lies_in_the_trash_of_the_watch(ledger, tmp_path):
    (tmp_path / "w").mkdir()
    refuge.offer(ledger, str(tmp_path / "w"), never)
    assert (tmp_path / "w" / ".ckptd-trash" / NAME).stat().st_mode & 0o777 == 0o600
    assert ledger.has_refuge(str(tmp_path / "w"))


def test_where_the_watch_is_a_run_it_lies_above(ledger, tmp_path):
    write_checkpoint(tmp_path / "w" / "out", 5)
    watch = str(tmp_path / "w" / "out")
    refuge.offer(ledger, watch, lambda path: path == watch)
    assert (tmp_path / "w" / ".ckptd-trash" / NAME).exists()
    assert ledger.has_refuge(watch)
    assert os.listdir(watch) == ["checkpoint-5"]


def test_the_last_room_is_left_to_the_training(ledger, small):
    refuge.offer(ledger, str(small), never)
    assert not ledger.has_refuge(str(small))
    assert not (small / ".ckptd-trash" / NAME).exists()


def test_unless_nothing_could_be_recorded_without_it(ledger, small, tmp_path):
    (tmp_path / "state").rename(tmp_path / "away")
    (tmp_path / "state").write_text("no directory any more")
    ledger.mend()
    ledger.note(Record(event="refuse", at=1.0))
    assert ledger.trouble
    refuge.offer(ledger, str(small), never)
    assert ledger.has_refuge(str(small))


def test_one_that_is_there_already_is_found_and_none_is_made(ledger, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
    with Ledger(str(tmp_path / "other")) as other:
        refuge.offer(other, str(tmp_path / "a"), never)
    refuge.reopen(ledger, [str(tmp_path / name / "deep") for name in ("a", "b")])
    assert ledger.has_refuge(str(tmp_path / "a"))
    assert not (tmp_path / "b" / ".ckptd-trash").exists()
