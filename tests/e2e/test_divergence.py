"""A real training that goes on with numbers that are none."""

from __future__ import annotations

import json
import math

import pytest
from e2e.training import ckptd, exec_, marks, run, steps, training

pytestmark = marks()


@pytest.mark.parametrize("kind", ["--full", "--lora"])
def test_the_last_healthy_one_stays_when_the_training_goes_on_with_nan(tmp_path, kind):
    out = tmp_path / "out"
    lost = (kind, "--max_steps", 40, "--save_steps", 5, "--nan_at", 18)
    exec_(out, "--keep-last", 1, command=training(out, *lost)).check()

    state = json.loads((out / "checkpoint-40" / "trainer_state.json").read_text())
    norms = {line["step"]: line["grad_norm"] for line in state["log_history"] if "loss" in line}
    assert math.isfinite(norms[15]), "it was lost too early: this proves nothing"
    assert math.isnan(norms[20]), "it was never lost: this proves nothing"
    assert steps(out) == {15, 40}
    # Not from what exec says: the trainer's progress bar shares its standard error.
    history = json.loads(run(ckptd("history", "--json", state=tmp_path / "state")).check().out)
    told = [event for event in history["events"] if event["event"] == "diverged"]
    assert [event["rule"] for event in told] == ["diverged"]
    assert "grad_norm is nan since step 20" in told[0]["reason"]
    assert "checkpoint-15 is the last healthy checkpoint" in told[0]["reason"]
