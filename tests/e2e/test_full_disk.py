"""A training that died of a full disk goes on, on the same disk, once ckptd stands beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.training import exec_, marks, run, steps, training

pytestmark = marks(
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small filesystem"),
)

# Five saves of 12.2 MB fit, and of the sixth the weights and half the optimizer.
FULL = ("--full", "--hidden", 248, "--save_steps", 2)


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A filesystem of 64 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_resuming_works_again_after_exec_on_the_wreck(small):
    out = small / "out"
    died = run(training(out, *FULL, "--max_steps", 40))
    assert died.status != 0
    wreck, whole = out / "checkpoint-12", out / "checkpoint-10"
    assert 0 < size(wreck / "optimizer.pt") < size(whole / "optimizer.pt")
    assert not (wreck / "trainer_state.json").exists()
    assert run(training(out, *FULL, "--max_steps", 16, "--resume")).status != 0

    # No more room than before, and more saves to come than fit.
    more = training(out, *FULL, "--max_steps", 24, "--resume", "--step_sleep", 1.3)
    state = small.parent / "state"
    policy = ("--keep-last", 2, "--trash-for", "0s")
    end = exec_(out, *policy, command=more, state=state).check()

    assert end.training["global_step"] == 24
    assert steps(out) == {22, 24}
    (set_aside,) = [e for e in end.events if e["event"] == "set_aside"]
    assert set_aside["step"] == 12
    assert end.steps_of("recognised")[0] == 12  # from 10 on, everything was trained again


def size(file: Path) -> int:
    return file.stat().st_size
