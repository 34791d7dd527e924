"""Random runs and policies, acted on for real; an oracle that knows from outside what must stay."""

import random
import shutil
import time

import pytest
from corpus import cut, write_checkpoint
from house import ckptd, names

DAMAGE = ("cut-weights", "cut-optimizer", "no-state", "torn-state")


def damage(save, how):
    match how:
        case "cut-weights":
            cut(save / "adapter_model.safetensors", 300)
        case "cut-optimizer":
            if (save / "optimizer.pt").exists():
                cut(save / "optimizer.pt", 300)
            else:
                cut(save / "adapter_model.safetensors", 300)
        case "no-state":
            (save / "trainer_state.json").unlink()
        case "torn-state":
            (save / "trainer_state.json").write_bytes(b"{" * 100)


def build(run, rng):
    """Writes a random run; returns what must stay whatever the policy says."""
    began, losses, must = time.time() - 5000, {}, set()
    steps = rng.sample(range(10, 100, 10), rng.randint(1, 7))
    intact = []
    for nth, step in enumerate(steps):
        losses[step] = rng.random()
        best = min(losses, key=losses.__getitem__) if rng.random() < 0.7 else None
        mtime = began + 60 * nth
        optimizer = rng.random() < 0.8
        save = write_checkpoint(
            run, step, history=dict(losses), best=best, mtime=mtime, optimizer=optimizer
        )
        fate = rng.random()
        if fate < 0.3:
            damage(save, rng.choice(DAMAGE))
        elif fate < 0.4:
            (save / "notes.txt").write_text("a person's")
            must.add(step)
            intact.append(step)
        else:
            intact.append(step)
    if intact:
        must |= {intact[-1], max(intact)}
    return {f"checkpoint-{step}" for step in must}


@pytest.mark.parametrize("seed", range(60))
def test_what_must_stay_stays_under_any_policy(tmp_path, seed):
    rng = random.Random(seed)
    run = tmp_path / "out"
    must = build(run, rng)
    options = {
        "policy__keep_last": rng.choice(["1", "2", "unlimited"]),
        "policy__keep_best": rng.choice([0, 1, 2]),
        "policy__trash_for": rng.choice(["0s", "1h"]),
    }
    for _ in range(2):
        with ckptd(tmp_path / "state", run, **options) as daemon:
            daemon.settle(time.monotonic())
        assert must <= names(run), options
    shutil.rmtree(tmp_path)
