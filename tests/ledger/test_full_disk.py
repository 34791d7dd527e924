"""A filesystem with no byte and no inode free: acts are still recorded, and nothing is lost."""

import os
import subprocess

import pytest

from ckptd.errors import LedgerError
from ckptd.ledger import Ledger, Record
from ckptd.ledger.slots import FACTS

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root"),
]


@pytest.fixture
def disk(tmp_path):
    """A filesystem of 4 MiB and 40 inodes."""
    options = ["-o", "size=4m,nr_inodes=40"]
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no mount allowed here: {mounted.stderr.decode().strip()}")
    yield str(tmp_path)
    subprocess.run(["umount", tmp_path], check=True)


def fill(disk):
    """Takes every inode, then every byte; the names of what it wrote."""
    names = []
    while os.statvfs(disk).f_favail:
        names.append(f"{disk}/filler-{len(names)}")
        open(names[-1], "xb").close()
    with open(names[0], "wb", buffering=0) as file:
        while os.statvfs(disk).f_bavail:
            file.write(b"x" * 4096)
    free = os.statvfs(disk)
    assert (free.f_bavail, free.f_favail) == (0, 0)
    return names


def acts(ledger, names):
    for name in names:
        record = Record(event="evict", at=1.0, checkpoint=f"/r/{name}", run="/r")
        ledger.conclude(ledger.intend(record).id, "done", bytes=1)


@pytest.mark.parametrize("wal", [True, False], ids=["wal", "rollback"])
def test_acts_on_a_full_disk_are_recorded_and_move_on_when_there_is_room(disk, wal):
    with Ledger(f"{disk}/state", wal=wal) as ledger:
        filler = fill(disk)
        acts(ledger, "abcdefgh")
        waiting = [slot for slot in ledger._slots_file.read() if slot.settled]
        told = [record.checkpoint for record in ledger.history()]

        assert waiting
        assert sorted(told) == [f"/r/{name}" for name in "abcdefgh"]
        for name in filler:
            os.unlink(name)
        assert ledger.drain() == len(waiting)
        assert ledger._slots_file.read() == ()
        assert sorted(record.checkpoint for record in ledger.history()) == sorted(told)
        assert ledger.alarms == ()


def test_ckptd_started_on_a_full_disk_knows_and_records(disk):
    with Ledger(f"{disk}/state") as ledger:
        ledger.adopt("/r", 5)
        ledger.intend(Record(event="evict", at=1.0, checkpoint="/r/cut", run="/r"))
    filler = fill(disk)

    with Ledger(f"{disk}/state") as ledger:
        assert ledger.is_adopted("/r", 5)
        assert [record.checkpoint for record in ledger.unfinished()] == ["/r/cut"]
        acts(ledger, "ab")
        assert ledger.adopt("/new", 6)
        assert ledger.adopted() == {"/r": 5, "/new": 6}
    for name in filler:
        os.unlink(name)

    with Ledger(f"{disk}/state") as ledger:
        assert ledger.adopted() == {"/r": 5, "/new": 6}
        assert len(list(ledger.history(paths=["/r/a", "/r/b"]))) == 2
        assert len(ledger._slots_file.read()) == 1


def test_facts_on_a_full_disk_are_refused_before_acts_are(disk):
    with Ledger(f"{disk}/state") as ledger:
        fill(disk)
        facts = [Record(event="refuse", at=1.0, reason="x" * 4000) for _ in range(FACTS * 2)]

        assert not all(ledger.note(fact) for fact in facts)
        acts(ledger, "ab")


def test_state_without_room_for_its_slots_is_one_sentence(disk):
    os.mkdir(f"{disk}/state")
    fill(disk)
    os.unlink(f"{disk}/filler-1")

    with pytest.raises(LedgerError, match=r"laid out: No space left on device; .*let go"):
        Ledger(f"{disk}/state")
