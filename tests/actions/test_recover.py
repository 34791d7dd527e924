"""A ckptd died between intent and outcome: the next one settles it by what the disk shows."""

import subprocess
import sys
import time

import pytest
from corpus import write_checkpoint
from house import ckptd, names

from ckptd import trash
from ckptd.actions.trash import restore
from ckptd.ledger import Ledger, Record

# Dies with the intent written, at the place in the act that argv[1] names.
DYING = """
import os, signal, sys
from datetime import UTC, datetime
from house import ckptd
from ckptd.actions import trash as acts
from ckptd import trash, beneath
at, state, run = sys.argv[1:]
def die():
    os.kill(os.getpid(), signal.SIGKILL)
class Dying:
    def intend(self, record):
        self.real.intend(record)
        if at == "before": die()
    def conclude(self, *a, **k):
        if at == "after": die()
        return self.real.conclude(*a, **k)
    def __getattr__(self, name):
        return getattr(self.real, name)
with ckptd(state, run, policy__keep_last=1, policy__keep_best=0, **(
    {"policy__trash_for": "1ms"} if len(os.listdir(run)) == 1 else {}
)) as daemon:
    dying = Dying()
    dying.real = daemon.ledger
    object.__setattr__(daemon.hands, "ledger", dying)
    daemon.settle(0)
"""


@pytest.fixture
def run(tmp_path):
    for step in (5, 10):
        write_checkpoint(tmp_path / "out", step, mtime=time.time() - 1000 + step)
    return tmp_path / "out"


def die(at, run):
    program = [sys.executable, "-c", DYING, at, str(run.parent / "state"), str(run)]
    environment = {"PYTHONPATH": str(sys.modules["house"].__file__).rpartition("/")[0]}
    died = subprocess.run(program, env=environment, check=False, capture_output=True, text=True)
    assert died.returncode == -9, died.stderr


def recovered(run, **options):
    told = []
    with ckptd(run.parent / "state", run, told=told, **options) as daemon:
        history = [(r.event, r.outcome) for r in daemon.ledger.history() if r.event != "recognised"]
        assert daemon.ledger.unfinished() == ()
    return [(record.event, record.outcome) for record in told], history


def test_an_intent_not_acted_on_is_dropped(run):
    die("before", run)

    assert recovered(run) == ([("evict", "dropped")], [("evict", "dropped")])
    assert names(run) == {"checkpoint-5", "checkpoint-10"}


def test_a_move_that_was_done_is_recorded_as_done(run):
    die("after", run)

    assert recovered(run) == ([("evict", "done")], [("evict", "done")])
    assert names(run) == {"checkpoint-10"}
    assert [item.name for item in trash.items(str(run.parent))] == ["checkpoint-5"]


@pytest.mark.parametrize(
    ("at", "outcome", "left"), [("before", "dropped", 1), ("after", "done", 0)]
)
def test_a_purge_is_dropped_or_done(run, at, outcome, left):
    with ckptd(run.parent / "state", run, policy__keep_last=1, policy__keep_best=0) as daemon:
        daemon.settle(0)
    die(at, run)

    assert recovered(run)[0] == [("purge", outcome)]
    assert len(trash.items(str(run.parent))) == left


def test_a_purge_that_had_begun_is_finished(run):
    with ckptd(run.parent / "state", run, policy__keep_last=1, policy__keep_best=0) as daemon:
        daemon.settle(0)
    (item,) = trash.items(str(run.parent))
    shelf = run.parent / ".ckptd-trash" / str(item.uid)
    (shelf / item.id).rename(shelf / f"{item.id}purging")
    details = {"item": item.id, "place": item.place}
    ledger = Ledger(str(run.parent / "state"))
    ledger.intend(Record(event="purge", at=time.time(), checkpoint=item.path, details=details))
    ledger.close()

    assert recovered(run)[0] == [("purge", "done")]
    assert [path.name for path in shelf.iterdir()] == []


def test_recovering_twice_changes_nothing(run):
    die("after", run)
    recovered(run)

    assert recovered(run)[0] == []


def begun(run, event, **details):
    """The intent of a ckptd that died at it."""
    with Ledger(str(run.parent / "state")) as ledger:
        path = str(run / "checkpoint-5")
        ledger.intend(Record(event=event, at=time.time(), checkpoint=path, details=details))


def test_an_intent_whose_trash_is_out_of_sight_waits(run):
    place = run.parent / "mount"
    place.write_text("nothing is mounted here now")
    begun(run, "evict", place=str(place))
    told = []
    with ckptd(run.parent / "state", run, told=told) as daemon:
        assert [record.event for record in daemon.ledger.unfinished()] == ["evict"]
    assert told == []


def test_a_restore_is_judged_by_the_trash_although_the_name_is_taken(run):
    with ckptd(run.parent / "state", run, policy__keep_last=1, policy__keep_best=0) as daemon:
        daemon.settle(0)
    (item,) = trash.items(str(run.parent))
    begun(run, "restore", item=item.id, place=item.place)
    write_checkpoint(run, 5, mtime=time.time() - 2000)

    assert recovered(run)[0] == [("restore", "dropped")]


def test_a_restore_to_elsewhere_that_was_done_is_done(run):
    with ckptd(run.parent / "state", run, policy__keep_last=1, policy__keep_best=0) as daemon:
        daemon.settle(0)
    (item,) = trash.items(str(run.parent))
    (run.parent / "elsewhere").mkdir()
    begun(run, "restore", item=item.id, place=item.place)
    restore(item, to=str(run.parent / "elsewhere"))

    assert recovered(run)[0] == [("restore", "done")]


def test_the_sidecar_of_a_move_that_was_not_done_is_cleared(run):
    with ckptd(run.parent / "state", run, policy__keep_last=1, policy__keep_best=0) as daemon:
        daemon.settle(0)
    (item,) = trash.items(str(run.parent))
    shelf = run.parent / ".ckptd-trash" / str(item.uid)
    (shelf / item.id).rename(run / "checkpoint-5")
    record = Record(
        event="evict",
        at=time.time(),
        id=item.id,
        checkpoint=item.path,
        details={"place": item.place},
    )
    with Ledger(str(run.parent / "state2")) as ledger:
        ledger.intend(record)
    with ckptd(run.parent / "state2", run) as daemon:
        assert daemon.ledger.unfinished() == ()
    assert list(shelf.iterdir()) == []


def removing(run, id_, **details):
    with Ledger(str(run.parent / "state")) as ledger:
        path = str(run / "checkpoint-5")
        record = Record(
            event="evict", at=time.time(), id=id_, checkpoint=path, run=str(run), details=details
        )
        ledger.intend(record)


def test_an_unlinking_in_the_run_that_had_begun_is_finished_and_recorded(run):
    removing(run, "abcdefghijklmnop", content="whatever")
    (run / "checkpoint-5").rename(run / ".abcdefghijklmnoppurging")
    (run / ".abcdefghijklmnoppurging" / "optimizer.pt").unlink()

    assert recovered(run)[0] == [("evict", "done")]
    assert [path.name for path in run.iterdir()] == ["checkpoint-10"]


def test_an_unlinking_in_the_run_that_had_not_begun_is_dropped(run):
    with ckptd(run.parent / "state", run) as daemon:
        (five, _) = daemon.eyes.look(users=False).world.runs[0].checkpoints
    removing(run, "abcdefghijklmnop", content=five.identity.digest)

    assert recovered(run)[0] == [("evict", "dropped")]
    assert names(run) == {"checkpoint-5", "checkpoint-10"}
