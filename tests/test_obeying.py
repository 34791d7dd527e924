"""A configuration that changes while a plan is carried out: the rest of the plan is not."""

import time

import pytest
from corpus import write_checkpoint
from house import ckptd, names

from ckptd.config import Configuration
from ckptd.daemon.reload import SETTLES, Reload

STEPS = (10, 20, 30, 40, 50)


class Interrupting(list):
    """Hears what is told, and does something at the first act."""

    def __init__(self, then):
        super().__init__()
        self.then = then

    def append(self, record):
        super().append(record)
        if record.event == "evict" and len(self.all("evict")) == 1:
            self.then()

    def all(self, event):
        return [record for record in self if record.event == event]


@pytest.fixture
def run(tmp_path):
    place = tmp_path / "lab" / "run"
    for step in STEPS:
        write_checkpoint(place, step, mtime=time.time() - 1000 + step)
    return place


def written(tmp_path, head=""):
    file = tmp_path / "ckptd.toml"
    watch = f'[[watch]]\npath = "{tmp_path}/lab"\nadopt = "all"\n'
    policy = "[policy]\nkeep_last = 1\nkeep_best = 0\n[disk]\n"
    file.write_text(f'{head}\n{watch}{policy}high = "99.9%"\nlow = "99.8%"\nhard = "100%"\n')
    return file


def test_observe_holds_from_the_next_act_on(run, tmp_path):
    file = written(tmp_path)
    told = Interrupting(lambda: written(tmp_path, 'mode = "observe"'))
    with ckptd(tmp_path / "state", config_file=file, told=told) as daemon:
        daemon.reload = Reload(Configuration(str(file), {}, []))
        daemon.cycle()
        assert len(told.all("evict")) == 1, "the act under way, and no other"
        assert daemon.cycle() <= 1, "it is looked again soon"
        time.sleep(SETTLES)
        daemon.cycle()
    assert daemon.eyes.settings.mode == "observe"
    assert names(run) == {f"checkpoint-{step}" for step in STEPS[1:]}


def test_a_plan_goes_on_after_a_configuration_that_was_read_again(run, tmp_path):
    file = written(tmp_path)
    told = Interrupting(None)
    with ckptd(tmp_path / "state", config_file=file, told=told) as daemon:
        daemon.reload = Reload(Configuration(str(file), {}, []))
        told.then = daemon.reconfigure  # as SIGHUP does
        daemon.cycle()
        assert len(told.all("evict")) == 1
        for _ in STEPS:  # on a slow disk one cycle does not do all
            if len(names(run)) > 1:
                daemon.cycle()
    assert [record.event for record in told][1:] == ["config", "evict", "evict", "evict"]
    assert names(run) == {"checkpoint-50"}


@pytest.mark.parametrize(("mode", "goes"), [("enforce", "will go by it"), ("observe", "would go")])
def test_what_a_changed_policy_costs_is_said_in_the_words_of_the_mode(run, tmp_path, mode, goes):
    file, told = written(tmp_path, f'mode = "{mode}"'), []
    file.write_text(file.read_text().replace("keep_last = 1", "keep_last = 5"))
    with ckptd(tmp_path / "state", config_file=file, told=told) as daemon:
        daemon.cycle()
        (run.parent / ".ckptd.toml").write_text("[policy]\nkeep_last = 3\n")
        daemon.cycle()
    (cost,) = [record.reason for record in told if record.event == "config"]
    assert "2 checkpoints" in cost
    assert goes in cost
    assert ("mode is observe" in cost) == (mode == "observe")
