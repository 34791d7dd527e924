"""One look after the other on real directories: what is born, what is only shown."""

import shutil
import time
from dataclasses import replace

import pytest
from corpus import write_checkpoint
from house import ckptd

from ckptd.config import Watch
from ckptd.ledger import LedgerView
from ckptd.observe.save import _lasting
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


@pytest.mark.parametrize("nearest_first", [True, False])
def test_of_overlapping_watches_the_nearest_has_a_run(tmp_path, nearest_first):
    lab, experiment = tmp_path / "lab", tmp_path / "lab" / "experiment"
    for place in (lab / "old", experiment / "run"):
        write_checkpoint(place, 5, mtime=time.time() - 9000)
    watches = [f'[[watch]]\npath = "{experiment}"\nadopt = "all"', f'[[watch]]\npath = "{lab}"']
    config = tmp_path / "ckptd.toml"
    config.write_text("\n".join(watches if nearest_first else watches[::-1]))
    with ckptd(tmp_path / "state", config_file=config) as daemon:
        runs = daemon.eyes.look(users=False).world.runs
        assert {(run.path, run.watch, run.adopted) for run in runs} == {
            (f"{experiment}/run", str(experiment), True),
            (f"{lab}/old", str(lab), False),
        }
        again = [daemon.eyes.look_at(run)[0] for run in runs]
        assert {(run.path, run.watch) for run in again} == {(run.path, run.watch) for run in runs}


def test_a_watch_named_on_the_command_line_has_all_runs_below_it(tmp_path):
    write_checkpoint(tmp_path / "lab" / "run", 5, mtime=time.time() - 9000)
    with ckptd(tmp_path / "state", tmp_path / "lab") as daemon:
        settings = daemon.eyes.settings
        both = (Watch(f"{tmp_path}/lab/run"), *settings.watches)
        daemon.eyes.settings = replace(settings, watches=both)
        (run,) = daemon.eyes.look(users=False).world.runs
        assert (run.watch, run.adopted) == (f"{tmp_path}/lab", True)


@pytest.mark.parametrize(
    ("answers", "lasting"),
    [([False], False), ([None], None), ([True, False], False), ([True, True], True)],
)
def test_who_has_a_save_for_microseconds_is_another_ckptd_and_no_user(answers, lasting):
    assert _lasting(iter(answers).__next__) is lasting
