"""What is told: once when it begins, and remembered no longer than it holds."""

from dataclasses import replace

from builders import run, series, world
from corpus import write_checkpoint
from house import ckptd

from ckptd.model import Unreadable
from ckptd.notice import Notices, fact


def test_what_recurs_at_every_look_is_told_once(tmp_path):
    write_checkpoint(tmp_path / "out", 5)
    told = []
    with ckptd(tmp_path / "state", tmp_path / "out", told=told) as daemon:
        for _ in range(3):
            daemon.cycle()  # nothing listens for events, so directories are polled
    assert [record.event for record in told] == ["unreadable"]


def test_what_cannot_be_read_is_told_when_it_begins_and_when_it_comes_back():
    notices, lost = Notices(), world(unreadable=(Unreadable("/data/a", "permission denied"),))
    told = [[r.run for r in notices.of_world(w)] for w in (lost, lost, world(), lost)]
    assert told == [["/data/a"], [], [], ["/data/a"]]


def test_saves_that_are_gone_are_not_remembered():
    notices = Notices()
    for step in range(100):
        list(notices.saves(world(run(*series(step)))))
    assert len(notices.handed) == 1
    assert notices.said == set()


def test_two_checkpoints_of_one_run_are_two_facts():
    notices, record = Notices(), fact("refuse", "/data/a", "not whole")
    assert notices.is_news(replace(record, checkpoint="/data/a/checkpoint-1"))
    assert notices.is_news(replace(record, checkpoint="/data/a/checkpoint-2"))
    assert not notices.is_news(replace(record, checkpoint="/data/a/checkpoint-2"))


def test_what_befell_the_ledger_is_told(tmp_path):
    write_checkpoint(tmp_path / "out", 5)
    with ckptd(tmp_path / "state", tmp_path / "out"):
        pass
    (tmp_path / "state" / "ledger.db").write_bytes(b"\xff" * 8192)
    told = []
    with ckptd(tmp_path / "state", tmp_path / "out", told=told) as daemon:
        daemon.settle(0)
        daemon.settle(0)
    (record,) = [record for record in told if record.event == "ledger"]
    assert "set aside" in record.reason
