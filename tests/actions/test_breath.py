"""Under demand a run that saved this moment is let draw breath, and nobody waits for that."""

import time

import pytest
from corpus import write_checkpoint
from house import ckptd, names, planned

from ckptd import scan
from ckptd.actions.turns import Turns
from ckptd.model import Action, ActionKind

MIB = 2**20


@pytest.fixture
def crowded(tmp_path):
    """Two runs of four saves, two too many, and a configuration that says so."""
    for name in "ab":
        for nth in range(1, 5):
            when = time.time() - 600 * (5 - nth)
            write_checkpoint(tmp_path / "data" / name, nth, size=MIB, mtime=when)
    held = scan.weigh(str(tmp_path / "data"))
    (tmp_path / "ckptd.toml").write_text(
        f'[[watch]]\npath = "{tmp_path / "data"}"\nadopt = "all"\ncapacity = "{held}B"\n'
    )
    return tmp_path


def acting(crowded):
    options = {"disk__high": "90%", "disk__low": "70%", "disk__hard": "98%"}
    config = crowded / "ckptd.toml"
    return ckptd(crowded / "state", config_file=config, **options)


def test_another_run_goes_first_meanwhile(crowded):
    with acting(crowded) as daemon:
        plan = planned(daemon)
        first = plan.actions[0]
        write_checkpoint(crowded / "data" / first.run.path.rpartition("/")[2], 9, size=MIB)
        begun = time.monotonic()
        outcomes = list(daemon.hands.execute(plan))
        took = time.monotonic() - begun

    assert first.urgent
    assert [o.ok for o in outcomes] == [True] * len(plan.actions)
    assert outcomes[0].action.run.path != first.run.path
    assert outcomes[-1].action.run.path == first.run.path
    assert took >= first.run.breath


def test_alone_it_is_waited_for(crowded):
    with acting(crowded) as daemon:
        plan = planned(daemon)
        for name in "ab":
            write_checkpoint(crowded / "data" / name, 9, size=MIB)
        outcomes = list(daemon.hands.execute(plan))

    assert [o.ok for o in outcomes] == [True] * len(plan.actions)
    assert "checkpoint-9" in names(crowded / "data" / "a") & names(crowded / "data" / "b")


# --- whose turn it is --------------------------------------------------------------------


def action(name):
    return Action(ActionKind.EVICT, f"/data/{name}", 0, (), "/data")


def handed_out(turns):
    return [(a.path.rpartition("/")[2], waits) for a, waits in iter(turns.next, None)]


def test_each_has_one_turn_in_order():
    assert handed_out(Turns(map(action, "abc"))) == [("a", False), ("b", False), ("c", False)]


def test_what_is_put_off_comes_once_its_time_has_come_before_all_others():
    turns = Turns(map(action, "abc"))
    first, _ = turns.next()
    turns.put_off(first, 0.05)
    assert turns.next()[0].path == "/data/b"
    time.sleep(0.06)
    assert handed_out(turns) == [("a", False), ("c", False)]


def test_what_is_put_off_is_waited_for_where_nothing_else_is_left():
    turns = Turns(map(action, "ab"))
    for seconds in (20, 10):
        turns.put_off(turns.next()[0], seconds)
    assert handed_out(turns) == [("b", True), ("a", True)]
