"""A drop-in appears, changes, breaks, is mended and goes, under a live training and its ckptd."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

from e2e.training import Ended, ckptd, ended, marks, start, steps, training, wait_for

pytestmark = marks()

# Its saves are further apart than calm, so that ckptd acts between them.
RHYTHM = ("--lora", "--max_steps", 90, "--save_steps", 5, "--step_sleep", 0.65)
WATCH = '[[watch]]\npath = "{}"\n[policy]\nkeep_best = 0\n'


class Lab:
    """A training below a watch, and what ckptd tells of it."""

    def __init__(self, place: Path) -> None:
        self.out = place / "lab" / "experiment" / "out"
        self.drop_in = place / "lab" / "experiment" / ".ckptd.toml"
        self.drop_in.parent.mkdir(parents=True)
        config = place / "ckptd.toml"
        config.write_text(WATCH.format(place / "lab"))
        command = ckptd("watch", "--json", "--config", config, state=place / "state")
        self.told = place / "watch"
        self.guard = start(command, self.told)

    @property
    def heard(self) -> Ended:
        return Ended(0, "", Path(f"{self.told}.err").read_text())

    @property
    def seen(self) -> list[int]:
        """The steps of all saves so far, in order."""
        return [int(str(step)) for step in self.heard.steps_of("recognised")]

    def after_two_more(self) -> None:
        """Waits for two more saves, so that the policy in force has had its say."""
        count = len(self.seen)
        assert wait_for(lambda: len(self.seen) >= count + 2), self.heard.err

    def comes_to(self, wanted: Callable[[], set[int]]) -> bool:
        """Whether exactly *wanted* come to remain."""
        return wait_for(lambda: steps(self.out) == wanted(), 10.0)

    def keeps_the_newest(self, count: int) -> bool:
        self.after_two_more()
        return self.comes_to(lambda: set(self.seen[-count:]))

    def keeps_everything(self) -> bool:
        left, count = steps(self.out), len(self.seen)
        self.after_two_more()
        return self.comes_to(lambda: left | set(self.seen[count:]))

    def end(self, *processes: Popen[bytes]) -> None:
        for process in processes:
            process.send_signal(signal.SIGTERM)
            ended(process, self.told)


def test_each_time_exactly_the_right_checkpoints_remain(tmp_path):
    lab = Lab(tmp_path)
    trainer = start(training(lab.out, *RHYTHM), tmp_path / "trainer")
    try:
        assert wait_for(lambda: len(lab.seen) >= 3, 60.0), lab.heard.err
        assert steps(lab.out) == set(lab.seen), "without a policy everything stays"
        lab.drop_in.write_text("[policy]\nkeep_last = 2\n")
        assert lab.keeps_the_newest(2)
        lab.drop_in.write_text("[policy]\nkeep_last = 1\n")
        assert lab.keeps_the_newest(1)
        lab.drop_in.write_text("[policy]\nkeep_last = one\n")
        assert wait_for(lambda: bool(lab.heard.steps_of("frozen")))
        assert lab.keeps_everything()
        lab.drop_in.write_text("[policy]\nkeep_last = 2\n")
        assert lab.keeps_the_newest(2)
        lab.drop_in.unlink()
        assert lab.keeps_everything()
    finally:
        lab.end(trainer, lab.guard)
    assert "Traceback" not in lab.heard.err
