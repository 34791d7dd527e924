"""ckptd killed and started again every second, while a training saves and ckptd acts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from e2e.training import PRESSED, Ended, ckptd, ended, marks, run, start, steps, training

pytestmark = marks()

LORA = ("--lora", "--eval", "--max_steps", 40, "--save_steps", 2, "--turn_at", 6)


def test_a_guard_killed_every_second_costs_nothing_and_leaves_nothing(tmp_path):
    out, state = tmp_path / "out", tmp_path / "state"
    out.mkdir()
    trainer = start(training(out, *LORA, "--step_sleep", 0.3), tmp_path / "trainer")
    command = ckptd("watch", "--json", "--keep-last", 2, *PRESSED, out, state=state)
    kills = 0
    while trainer.poll() is None:
        guard = start(command, tmp_path / "guard")
        kills += stopped_after_a_second(guard, trainer)
    end = ended(trainer, tmp_path / "trainer").check()
    assert kills > 5
    guards = Ended(0, "", Path(tmp_path / "guard.err").read_text())
    assert guards.steps_of("evict"), "no guard lived long enough to act: this proves nothing"
    assert "Traceback" not in guards.err

    run(ckptd("apply", "--keep-last", 2, "--trash-for", "0s", out, state=state)).check()

    assert end.training["best_loaded"] is True
    assert steps(out) == {38, 40, end.best}
    assert (tmp_path / ".ckptd-trash").is_dir()
    assert left_in_the_trash(tmp_path) == []
    assert run(training(out, "--lora", "--max_steps", 42, "--resume")).check()


def stopped_after_a_second(
    guard: subprocess.Popen[bytes], trainer: subprocess.Popen[bytes]
) -> bool:
    """Kills *guard* after a second, or when *trainer* has ended. Whether it was killed in time."""
    try:
        trainer.wait(1.0)
    except subprocess.TimeoutExpired:
        assert guard.poll() is None, "the guard ended by itself"
        return True
    finally:
        guard.kill()
        guard.wait()
    return False


def left_in_the_trash(place: Path) -> list[Path]:
    """Files of checkpoints below any trash of *place*."""
    return [path for path in place.rglob(".ckptd-trash/**/*") if path.name.endswith("tensors")]
