"""The main job: `ckptd exec --keep-last 2` around a LoRA training that sets no limit itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.training import Ended, ckptd, exec_, marks, others, run, steps, training

pytestmark = marks()

LORA = ("--lora", "--eval", "--export", "--max_steps", 24, "--save_steps", 4, "--turn_at", 8)
SAVED = {4, 8, 12, 16, 20, 24}


@dataclass(frozen=True)
class Guarded:
    out: Path
    end: Ended

    @property
    def wanted(self) -> set[int]:
        """What the policy keeps: the newest two, and the best, which is an early one."""
        assert self.end.best not in (20, 24)
        return {20, 24, self.end.best}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Guarded:
    """Its saves are further apart than calm, so that ckptd acts while it trains."""
    out = tmp_path_factory.mktemp("guarded") / "out"
    command = training(out, *LORA, "--step_sleep", 0.65)
    return Guarded(out, exec_(out, "--keep-last", 2, command=command))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """What the same training leaves when nobody guards it."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run(training(out, *LORA)).check()
    assert steps(out) == SAVED
    return out


def test_exec_ends_with_the_status_of_the_training(guarded):
    assert guarded.end.check().training["global_step"] == 24


def test_exactly_the_newest_two_and_the_best_remain(guarded):
    assert steps(guarded.out) == guarded.wanted


def test_each_save_is_recognised_once_and_each_surplus_one_evicted_once(guarded):
    assert guarded.end.steps_of("recognised") == sorted(SAVED)
    assert sorted(map(int, guarded.end.steps_of("evict"))) == sorted(SAVED - guarded.wanted)


def test_ckptd_acts_while_the_training_runs(guarded):
    told = [(e["event"], e["step"]) for e in guarded.end.events]
    first_eviction = next(n for n, (event, _) in enumerate(told) if event == "evict")
    assert first_eviction < told.index(("recognised", 24))


def test_the_trainer_loads_its_best_at_the_end(guarded):
    assert guarded.end.training["best_loaded"] is True


def test_nothing_else_in_the_output_directory_changes(guarded, undisturbed):
    assert others(guarded.out) == others(undisturbed)
    weights = ["adapter_model.safetensors"]
    weights += [f"checkpoint-{step}/adapter_model.safetensors" for step in guarded.wanted]
    for name in weights:
        assert (guarded.out / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_what_is_kept_has_every_file_that_the_trainer_wrote(guarded, undisturbed):
    for step in guarded.wanted:
        name = f"checkpoint-{step}"
        kept, written = guarded.out / name, undisturbed / name
        assert {p.name for p in kept.iterdir()} == {p.name for p in written.iterdir()}


def test_plan_names_the_reason_for_each_one(guarded):
    state = guarded.out.parent / "state"
    end = run(ckptd("plan", "--json", "--keep-last", 2, guarded.out, state=state)).check()
    (planned,) = json.loads(end.out)["runs"]
    keepers = {
        checkpoint["step"]: {why["rule"] for why in checkpoint["reasons"] if why["keeps"]}
        for checkpoint in planned["checkpoints"]
    }
    assert {c["health"] for c in planned["checkpoints"]} == {"complete"}
    assert {c["action"] for c in planned["checkpoints"]} == {"keep"}
    assert set(keepers) == guarded.wanted
    assert "keep_last" in keepers[20]
    assert {"keep_last", "newest"} <= keepers[24]
    assert "keep_best" in keepers[guarded.end.best]


def test_why_answers_for_one_that_is_gone(guarded):
    gone = min(SAVED - guarded.wanted)
    checkpoint = guarded.out / f"checkpoint-{gone}"
    state = guarded.out.parent / "state"
    end = run(ckptd("why", "--keep-last", 2, checkpoint, state=state)).check()
    assert "keep_last" in end.out


def test_training_resumes_from_the_newest(guarded, tmp_path):
    shutil.copytree(guarded.out, tmp_path / "out", symlinks=True)
    more = ("--lora", "--max_steps", 30, "--save_steps", 4, "--resume")
    end = run(training(tmp_path / "out", *more)).check()
    assert end.training["global_step"] == 30
    # The steps before 24 were not trained again.
    assert steps(tmp_path / "out") == guarded.wanted | {28, 30}


def test_an_evicted_checkpoint_comes_back_and_can_be_resumed_from(guarded, tmp_path):
    gone = max(SAVED - guarded.wanted)
    state = guarded.out.parent / "state"
    place = tmp_path / "again"
    place.mkdir()
    checkpoint = guarded.out / f"checkpoint-{gone}"
    run(ckptd("restore", checkpoint, "--to", place, state=state)).check()
    assert steps(place) == {gone}
    more = ("--lora", "--max_steps", gone + 2, "--save_steps", 4, "--resume")
    assert run(training(place, *more)).check().training["global_step"] == gone + 2
