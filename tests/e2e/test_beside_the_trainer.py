"""ckptd and a trainer that has its own ways: it rotates, starts anew, saves in several ranks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from e2e.training import (
    PRESSED,
    ckptd,
    ended,
    exec_,
    marks,
    run,
    start,
    steps,
    training,
    wait_for,
)

pytestmark = marks()


FAST = ("--lora", "--max_steps", 200, "--save_steps", 1)


def test_two_hundred_fast_saves_that_the_trainer_rotates_itself(tmp_path):
    out = tmp_path / "out"
    command = training(out, *FAST, "--save_total_limit", 2)
    end = exec_(out, "--keep-last", 2, command=command).check()
    assert end.training["global_step"] == 200
    assert steps(out) == {199, 200}
    assert [e for e in end.events if e["outcome"] == "failed"] == []


def test_two_hundred_fast_saves_that_both_let_go_of(tmp_path):
    out = tmp_path / "out"
    command = training(out, *FAST, "--save_total_limit", 5)
    end = exec_(out, "--keep-last", 2, *PRESSED, command=command).check()
    assert end.training["global_step"] == 200
    assert end.steps_of("evict"), "ckptd never acted beside the trainer: this proves nothing"
    assert steps(out) == {199, 200}


def test_rotation_that_keeps_the_best_loses_nothing_to_ckptd(tmp_path):
    out = tmp_path / "out"
    rotating = ("--lora", "--eval", "--max_steps", 30, "--save_steps", 3, "--turn_at", 6)
    slow = ("--save_total_limit", 2, "--step_sleep", 0.3)
    end = exec_(out, "--keep-last", 2, command=training(out, *rotating, *slow)).check()
    assert end.training["best_loaded"] is True
    assert steps(out) >= {30, end.best}
    assert steps(out) <= {27, 30, end.best}


def test_a_fresh_run_where_an_older_one_went_further(tmp_path):
    out = tmp_path / "out"
    older = ("--lora", "--eval", "--max_steps", 40, "--save_steps", 10, "--turn_at", 10)
    run(training(out, *older)).check()
    assert steps(out) == {10, 20, 30, 40}

    newer = ("--lora", "--eval", "--max_steps", 20, "--save_steps", 5, "--turn_at", 10)
    command = training(out, *newer, "--step_sleep", 0.5)
    end = exec_(out, "--keep-last", 2, command=command).check()

    assert end.best == 10
    assert steps(out) == {10, 15, 20, 40}
    # The older run's 20 goes before the training starts, and the newer one's takes its name.
    assert sorted(map(int, end.steps_of("evict"))) == [5, 20, 30]
    told = [(event["event"], event["step"]) for event in end.events]
    assert told.index(("evict", 20)) < told.index(("recognised", 20))


def test_whole_weights_without_optimizer_are_kept_as_the_policy_says(tmp_path):
    out = tmp_path / "out"
    model_only = ("--full", "--eval", "--save_only_model", "--max_steps", 24, "--save_steps", 4)
    end = exec_(out, "--keep-last", 2, command=training(out, *model_only)).check()
    assert end.training["best_loaded"] is True
    assert steps(out) == {20, 24, end.best}
    assert len(end.steps_of("evict")) == 6 - len(steps(out))


def test_a_guard_that_starts_in_the_middle_of_a_save_touches_nothing_of_it(tmp_path):
    out = tmp_path / "out"
    saving = ("--full", "--eval", "--hidden", 256, "--max_steps", 40, "--save_steps", 2)
    trainer = start(training(out, *saving, "--turn_at", 4), tmp_path / "trainer")
    try:
        opened = half_a_save(out, range(12, 36, 2), trainer.pid)
        before = contents(opened)

        watching = ckptd(
            "watch", "--json", "--keep-last", 2, *PRESSED, out, state=tmp_path / "state"
        )
        guard = start(watching, tmp_path / "guard")
        settled = settled_ones(out, but=opened)
        assert wait_for(lambda: settled_ones(out, but=opened) < settled)
        assert contents(opened) == before
        assert trainer.poll() is None
    finally:
        os.kill(trainer.pid, signal.SIGCONT)

    end = ended(trainer, tmp_path / "trainer").check()
    assert wait_for(lambda: steps(out) == {38, 40, end.best}), steps(out)
    assert end.training["best_loaded"] is True
    guard.terminate()
    ended(guard, tmp_path / "guard").check()


def half_a_save(out: Path, candidates: Iterable[int], pid: int) -> Path:
    """The first of *candidates* that has weights and no state when the process *pid* is stopped.

    On a machine with much to do a save can be whole before this has had its turn.
    """
    until = time.monotonic() + 120
    for step in candidates:
        checkpoint = out / f"checkpoint-{step}"
        while not (checkpoint / "model.safetensors").exists():
            assert time.monotonic() < until
        os.kill(pid, signal.SIGSTOP)
        if not (checkpoint / "trainer_state.json").exists():
            return checkpoint
        os.kill(pid, signal.SIGCONT)
    raise AssertionError(f"each save in {out} was whole when it was seen")


def contents(checkpoint: Path) -> list[tuple[str, int, int]]:
    seen = [(path.name, path.stat()) for path in sorted(checkpoint.iterdir())]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in seen]


def settled_ones(out: Path, *, but: Path) -> set[int]:
    return {step for step in steps(out) if out / f"checkpoint-{step}" != but}
