"""The slot file: laid out once, a torn write harms its own block only."""

import os
import threading

import pytest

from ckptd.errors import LedgerError
from ckptd.ledger import Ledger, Record, locks
from ckptd.ledger.blocks import BLOCK
from ckptd.ledger.held import SLOTS, SlotReader
from ckptd.ledger.slots import Slots


def record(name, **fields):
    return Record(**{"event": "evict", "at": 1.0, "checkpoint": f"/r/{name}", "id": name} | fields)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "intents")


def damage(path, place, at=0):
    with open(path, "r+b") as file:
        file.seek(place * BLOCK + at)
        byte = file.read(1)
        file.seek(place * BLOCK + at)
        file.write(bytes([byte[0] ^ 0xFF]))


def names(slots):
    return [slot.record.id for slot in slots.read()]


def test_file_is_laid_out_to_its_last_block(path):
    Slots(path).close()

    seen = os.stat(path)
    assert seen.st_size == 2 * SLOTS * BLOCK
    assert seen.st_blocks * 512 >= seen.st_size


def test_writing_later_allocates_nothing(path):
    slots = Slots(path)
    before = os.stat(path).st_blocks
    for number in range(SLOTS):
        slots.intend(record(f"a{number}"))

    assert os.stat(path).st_blocks == before
    slots.close()


@pytest.mark.parametrize("at", [0, 5, 9, 13, 40], ids=["kind", "length", "sum", "number", "text"])
def test_torn_intent_is_ignored_and_reported(path, at):
    slots = Slots(path)
    slots.intend(record("a"))
    slots.intend(record("b"))
    slots.close()
    damage(path, 0, at)

    assert names(SlotReader(path)) == ["b"]
    slots = Slots(path)
    assert (names(slots), slots.torn) == (["b"], 1)
    slots.close()
    slots = Slots(path)
    assert slots.torn == 0
    slots.close()


def test_torn_slot_is_told_in_the_alarms(tmp_path):
    with Ledger(str(tmp_path)) as ledger:
        ledger.intend(record("a"))
    damage(tmp_path / "intents", 0)
    with Ledger(str(tmp_path)) as ledger:
        assert any("cannot be read and were made free" in alarm for alarm in ledger.alarms)


def test_torn_outcome_leaves_its_intent(path):
    slots = Slots(path)
    slots.intend(record("a"))
    (slot,) = slots.read()
    slots.settle(slot, record("a", outcome="done"))
    assert slots.read()[0].settled
    slots.close()
    damage(path, 1, 40)

    slots = Slots(path)
    (slot,) = slots.read()
    assert (slot.record.id, slot.settled, slots.torn) == ("a", False, 1)
    slots.close()


def test_outcome_of_an_earlier_act_is_nobody_elses(path):
    slots = Slots(path)
    slots.intend(record("a"))
    (slot,) = slots.read()
    slots.settle(slot, record("a", outcome="done"))
    slots.free(slot)
    slots.intend(record("b", outcome="intended"))

    (slot,) = slots.read()
    assert (slot.index, slot.record.outcome, slot.settled) == (0, "intended", False)
    slots.close()


def test_slot_taken_again_is_not_freed_for_its_predecessor(path):
    slots, other = Slots(path), Slots(path)
    slots.intend(record("a"))
    (seen,) = other.read()
    slots.free(seen)
    slots.intend(record("b"))

    other.free(seen)

    assert names(slots) == ["b"]
    assert slots.read()[0].live
    slots.close()
    other.close()


def test_file_begun_and_cut_off_is_laid_out_anew(path):
    Slots(path).close()
    os.truncate(path, BLOCK + 7)

    slots = Slots(path)
    slots.intend(record("a"))
    assert names(slots) == ["a"]
    slots.close()


@pytest.mark.parametrize("kind", ["fifo", "symlink", "directory"])
def test_only_a_regular_file_serves(path, kind):
    {
        "fifo": lambda: os.mkfifo(path),
        "symlink": lambda: os.symlink("elsewhere", path),
        "directory": lambda: os.mkdir(path),
    }[kind]()

    with pytest.raises(LedgerError, match="cannot be laid out"):
        Slots(path)
    with pytest.raises(LedgerError, match="cannot be read"):
        SlotReader(path).read()


def test_outcome_of_the_same_id_used_again_is_not_the_old_one(path):
    slots = Slots(path)
    for _ in range(2):
        slots.intend(record("a"))
        (slot,) = slots.read()
        assert not slot.settled
        slots.settle(slot, record("a", outcome="done"))
        slots.free(slot)
    slots.close()


def test_number_that_comes_again_after_a_torn_block_misleads_nobody(path):
    slots = Slots(path)
    slots.intend(record("a"))
    slots.settle(slots.read()[0], record("a", outcome="done"))
    slots.close()
    damage(path, 0)
    slots = Slots(path)
    slots.intend(record("b"))

    (slot,) = slots.read()
    assert (slot.sequence, slot.record.id, slot.settled) == (1, "b", False)
    slots.close()


def test_settled_slot_can_be_freed_and_taken_by_another(path):
    slots, other = Slots(path), Slots(path)
    slots.intend(record("a"))
    slots.settle(slots.read()[0], record("a", outcome="done"))
    other.free(other.read()[0])
    other.intend(record("b"))

    assert [slot.index for slot in other.read()] == [0]
    slots.close()
    other.close()


def test_one_writer_at_a_time(path):
    slots = Slots(path)
    writer = threading.Thread(target=slots.intend, args=(record("a"),))
    with open(path, "r+b") as other:
        assert locks.lock(other.fileno(), 2 * SLOTS * BLOCK)
        writer.start()
        writer.join(0.1)
        assert writer.is_alive()
        locks.unlock(other.fileno(), 2 * SLOTS * BLOCK)
        writer.join(5)

    assert names(slots) == ["a"]
    slots.close()
