"""One look after the other on real directories: what is born, what is only shown."""

import shutil
import time

import pytest
from corpus import write_checkpoint
from house import ckptd

from ckptd.ledger import LedgerView
from ckptd.scan import DEEPEST


def bury(save):
    """Makes *save* unreadable for everyone, root too: too deep to be looked through."""
    save.joinpath(*["d"] * (DEEPEST + 5)).mkdir(parents=True)


@pytest.mark.parametrize("unreadable", [("5", "10"), ("5",)])
def test_an_old_run_is_not_born_where_its_old_saves_cannot_be_seen(tmp_path, unreadable):
    old = tmp_path / "old"
    write_checkpoint(old, 5, mtime=time.time() - 9000)
    write_checkpoint(old, 10, mtime=None if unreadable == ("5",) else time.time() - 8000)
    for step in unreadable:
        bury(old / f"checkpoint-{step}")
    (tmp_path / "watched").mkdir()
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/watched"\n')
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        daemon.eyes.look(users=False)
        old.rename(tmp_path / "watched" / "old")
        assert daemon.eyes.look(users=False).born == ()
        for step in unreadable:
            shutil.rmtree(tmp_path / "watched" / "old" / f"checkpoint-{step}" / "d")

        look = daemon.eyes.look(users=False)
        assert [run.adopted for run in look.world.runs] == [False]


class Counting(LedgerView):
    """A ledger that counts how often it is asked for the adopted runs."""

    asked = 0

    def adopted(self):
        self.asked += 1
        return super().adopted()


def test_one_look_asks_the_ledger_once_however_many_runs_there_are(tmp_path):
    for name in "abc":
        write_checkpoint(tmp_path / "watched" / name, 5, mtime=time.time() - 9000)
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/watched"\n')
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        daemon.eyes.ledger = Counting.of(str(tmp_path / "state"))
        assert len(daemon.eyes.look(users=False).world.runs) == 3
        assert daemon.eyes.ledger.asked == 1


def test_a_path_that_looks_like_a_glob_is_watched_before_it_exists(tmp_path):
    run = tmp_path / "exp[lr=1e-4]"
    with ckptd(tmp_path / "state", run) as daemon:
        assert daemon.eyes.look(users=False).directories == (str(run),)
