"""No save is judged complete before its last file is closed; several ranks' files are files too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e.training import ckptd, ended, marks, start, training
from e2e.witness import Witness

pytestmark = marks()


def test_no_fast_save_is_judged_before_its_last_file_is_closed(tmp_path):
    out = tmp_path / "out"
    witness = witnessed(out, training(out, "--lora", "--max_steps", 100, "--save_steps", 1))
    assert sorted(witness.recognised) == sorted(f"checkpoint-{n}" for n in range(1, 101))
    assert witness.late() == []


def test_a_save_of_two_ranks_is_complete_when_both_have_written(tmp_path):
    out = tmp_path / "out"
    alone = training(out, "--lora", "--max_steps", 20, "--save_steps", 2)
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    witness = witnessed(out, [*ranks, *alone[1:]])
    assert sorted(witness.recognised) == sorted(f"checkpoint-{n}" for n in range(2, 21, 2))
    for name in witness.recognised:
        assert {"rng_state_0.pth", "rng_state_1.pth"} <= set(os.listdir(out / name))
    assert witness.late() == []


def test_the_witness_sees_a_judgement_that_comes_too_early(tmp_path):
    witness = Witness(tmp_path)
    (tmp_path / "checkpoint-1").mkdir()
    witness._drain()
    (tmp_path / "checkpoint-1/a").write_text("")
    witness._drain()
    witness.seen.append(("checkpoint-1", "recognised"))
    (tmp_path / "checkpoint-1/b").write_text("")
    witness._drain()
    assert witness.late() == [("checkpoint-1", "b")]


def witnessed(out: Path, command: Sequence[str]) -> Witness:
    """What a witness sees of the training *command* while `ckptd watch` stands beside it."""
    out.mkdir()
    witness = Witness(out)
    guard = subprocess.Popen(
        ckptd("watch", "--json", out, state=out.parent / "state"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    try:
        trainer = start(command, out.parent / "trainer")
        witness.listen(guard, trainer)
        ended(trainer, out.parent / "trainer").check()
        guard.terminate()
        assert guard.wait(30) == 0
    finally:
        guard.kill()
        guard.communicate()
    return witness
