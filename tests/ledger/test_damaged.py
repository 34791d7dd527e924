"""A ledger that something overwrote: set aside with an alarm, and the trash is understood."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from corpus import write_checkpoint
from house import ckptd, names

from ckptd import trash
from ckptd.ledger import Ledger, Record

RULES = {"policy__keep_last": 1, "policy__keep_best": 0}


@pytest.fixture
def kept(tmp_path):
    """A run whose older save lies in the trash, and the state directory of who put it there."""
    for step in (5, 10):
        write_checkpoint(tmp_path / "out", step, mtime=time.time() - 1000 + step)
    with ckptd(tmp_path / "state", tmp_path / "out", **RULES) as daemon:
        for number in range(60):
            daemon.ledger.note(Record(event="refuse", at=float(number), reason="x" * 300))
        daemon.settle(time.monotonic())
    assert names(tmp_path / "out") == {"checkpoint-10"}
    return tmp_path


def garbage(file):
    file.write_bytes(b"\xff" * 70_000)


def zeros(file):
    file.write_bytes(bytes(70_000))


def empty(file):
    file.write_bytes(b"")


def cut(file):
    os.truncate(file, file.stat().st_size * 2 // 3 + 17)


def without_a_table(file):
    with closing(sqlite3.connect(file)) as db:
        db.execute("DROP TABLE records")


def another_column(file):
    with closing(sqlite3.connect(file)) as db:
        db.execute("ALTER TABLE records RENAME COLUMN body TO text")


def newer(file):
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")


def directory(file):
    file.unlink()
    file.mkdir()


DATABASE = [garbage, zeros, cut, without_a_table, another_column, newer, directory]
DAMAGES = [("ledger.db", damage) for damage in DATABASE]
DAMAGES += [("intents", damage) for damage in (garbage, zeros, empty, cut)]


def command(place, *words):
    done = subprocess.run(
        [sys.executable, "-m", "ckptd", *words, "--state", str(place / "state")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=lambda x: getattr(x, "__name__", x))
def test_the_trash_is_understood_whatever_became_of_the_ledger(kept, name, damage):
    damage(kept / "state" / name)
    told = []
    with ckptd(kept / "state", kept / "out", told=told, **RULES) as daemon:
        daemon.cycle()
        assert len(trash.items(str(kept))) == 1, "it was purged before its time"
    assert names(kept / "out") == {"checkpoint-10"}
    alarms = [record.reason for record in told if record.event == "ledger"]
    if damage not in (zeros, empty) or name == "ledger.db":
        assert alarms, "nobody hears of it"
        assert str(kept / "state") in alarms[0]
    path = str(kept / "out" / "checkpoint-5")
    assert command(kept, "restore", path).returncode == 0
    assert names(kept / "out") == {"checkpoint-5", "checkpoint-10"}


@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=lambda x: getattr(x, "__name__", x))
def test_what_has_expired_is_purged_whatever_became_of_the_ledger(kept, name, damage):
    damage(kept / "state" / name)
    rules = {**RULES, "policy__trash_for": "1ms"}
    with ckptd(kept / "state", kept / "out", **rules) as daemon:
        daemon.settle(time.monotonic())
    assert trash.items(str(kept)) == ()
    with Ledger(str(kept / "state")) as ledger:
        purges = [r.outcome for r in ledger.history() if r.event == "purge"]
    assert purges == ["done"]


@pytest.mark.parametrize("damage", [garbage, cut, without_a_table, directory])
def test_a_damaged_database_lies_beside_the_new_one(kept, damage):
    damage(kept / "state" / "ledger.db")
    with Ledger(str(kept / "state")) as ledger:
        assert ledger.note(Record(event="refuse", at=1.0))
        assert "set aside as" in ledger.alarms[0]
        assert len(list(ledger.history())) == 1
    assert len([n for n in os.listdir(kept / "state") if n.startswith("ledger.db.damaged-")]) == 1


def test_damaged_slots_are_copied_aside_and_a_cut_off_write_is_not(kept):
    with open(kept / "state" / "intents", "r+b") as file:
        file.write(b"\xff" * 100)
    with Ledger(str(kept / "state")) as ledger:
        assert ["was copied to" in alarm for alarm in ledger.alarms] == [False]
    garbage(kept / "state" / "intents")
    with Ledger(str(kept / "state")) as ledger:
        (alarm,) = ledger.alarms
        copy = next(p for p in (kept / "state").iterdir() if p.name.startswith("intents.damaged-"))
        assert str(copy) in alarm
        assert ledger.intend(Record(event="evict", at=1.0, checkpoint="/r/c", run="/r"))
    assert copy.read_bytes() == b"\xff" * 70_000


def test_a_newer_ledger_is_left_alone_and_the_way_out_is_said(kept):
    newer(kept / "state" / "ledger.db")
    before = (kept / "state" / "ledger.db").read_bytes()
    with Ledger(str(kept / "state")) as ledger:
        assert ledger.note(Record(event="refuse", at=1.0))
        (alarm,) = ledger.alarms
    assert "a newer ckptd writes" in alarm
    assert "install that ckptd again" in alarm
    assert (kept / "state" / "ledger.db").read_bytes() == before


@pytest.mark.parametrize("damage", [garbage, empty, cut])
def test_slots_damaged_under_a_running_ckptd_cost_no_outcome(kept, damage):
    with Ledger(str(kept / "state")) as ledger:
        record = ledger.intend(Record(event="evict", at=1.0, checkpoint="/r/c", run="/r"))
        damage(kept / "state" / "intents")
        ledger.conclude(record.id, "done")
        assert ledger.record(record.id).outcome == "done"
        assert ledger.note(Record(event="refuse", at=2.0))
        later = ledger.intend(Record(event="evict", at=3.0, checkpoint="/r/d", run="/r"))
        ledger.conclude(later.id, "done")
    assert Ledger.read_only(str(kept / "state")).record(later.id).outcome == "done"


@pytest.mark.parametrize("seed", range(6))
def test_bytes_overwritten_anywhere_are_no_traceback_and_no_loss(kept, seed):
    chance = random.Random(seed)
    for name in ("ledger.db", "intents"):
        file = kept / "state" / name
        content = bytearray(file.read_bytes())
        for _ in range(chance.choice([1, 5, 60])):
            at = chance.randrange(len(content)) if seed % 2 else chance.randrange(20_000)
            content[at : at + 9] = chance.randbytes(9)
        file.write_bytes(content)
    for words in (("history",), ("why", str(kept / "out" / "checkpoint-5"))):
        command(kept, *words)
    with ckptd(kept / "state", kept / "out", **RULES) as daemon:
        daemon.cycle()
        assert len(trash.items(str(kept))) == 1
        assert daemon.ledger.note(Record(event="refuse", at=1.0, id="anew"))
        assert daemon.ledger.record("anew")
    assert command(kept, "restore", str(kept / "out" / "checkpoint-5")).returncode == 0
    assert names(kept / "out") == {"checkpoint-5", "checkpoint-10"}
