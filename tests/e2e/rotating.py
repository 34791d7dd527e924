"""Saves and rotates over and over, with no training in between: what races with ckptd.

`--how trainer`: transformers' own saving and rotating. `--how accelerate`: `save_state` with
automatic naming and a limit, which rotates before it saves. Neither expects that what was listed
has gone. While it rotates it is made to wait at a moment that dice choose, as on a busy machine.
The last line of standard output is JSON: what it met.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from train import Tokens, model
from transformers import Trainer, TrainingArguments, set_seed

LIMIT = 6
# Seconds: a save and what comes after it, and how long a rotation may stand still.
BETWEEN = 0.2
NAP = 0.03


@dataclass
class Met:
    """What happened here: `victims` are the paths that were rotated away, `missing` those of them
    that were gone by then, `naps` the rotations that stood still, `lost` the newest saves that
    somebody else took."""

    saves: int = 0
    naps: int = 0
    victims: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    set_seed(options.seed)
    met, dice = Met(), random.Random(options.seed)
    save = HOW[options.how](options.output_dir)
    rotates(met, dice)
    before = ""
    for step in range(1, options.saves + 1):
        saved = ""
        try:
            saved = save(step)
            met.saves += 1
        except (OSError, ValueError) as error:
            met.crashes.append(f"save {step}: {error} {frames(error)}")
        met.lost += [path for path in (before, saved) if path and not os.path.isdir(path)]
        before = saved
        time.sleep(dice.uniform(0, BETWEEN))
    print(json.dumps({"global_step": met.saves, **asdict(met)}), flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--how", choices=HOW, required=True)
    parser.add_argument("--saves", type=int, required=True)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def frames(error: BaseException) -> str:
    return " > ".join(frame.name for frame in traceback.extract_tb(error.__traceback__)[-4:])


def rotates(met: Met, dice: random.Random) -> None:
    """Notes each victim, and stands still somewhere between a listing and what is done by it."""

    def nap(*_: object) -> None:
        met.naps += 1
        time.sleep(dice.uniform(0, NAP))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in {"pathlib.Path.glob", "os.listdir"}:
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.00005, 0.0012))
        elif event == "shutil.rmtree":
            victim = str(arguments[0])
            met.victims.append(os.path.abspath(victim))
            if not os.path.lexists(victim):
                met.missing.append(os.path.abspath(victim))

    signal.signal(signal.SIGALRM, nap)
    sys.addaudithook(hook)


# --- two who rotate ------------------------------------------------------------------------


def as_trainer(out: str) -> Callable[[int], str]:
    arguments = TrainingArguments(
        output_dir=out,
        save_steps=1,
        save_total_limit=LIMIT,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model=small(), args=arguments, train_dataset=Tokens(4, turn=2))
    trainer.create_optimizer_and_scheduler(1_000_000)

    def save(step: int) -> str:
        trainer.state.global_step = step
        trainer._save_checkpoint(trainer.model, None)
        return os.path.join(out, f"checkpoint-{step}")

    return save


def as_accelerate(out: str) -> Callable[[int], str]:
    project = ProjectConfiguration(out, automatic_checkpoint_naming=True, total_limit=LIMIT)
    saving = accelerator(project)
    return lambda _: str(saving.save_state())


def accelerator(project: ProjectConfiguration | None = None) -> Accelerator:
    made = Accelerator(cpu=True, project_config=project)
    trained = small()
    optimizer = torch.optim.AdamW(trained.parameters())
    made.prepare(trained, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer))
    return made


def small() -> torch.nn.Module:
    return model(argparse.Namespace(lora=True, hidden=32, layers=1))


HOW = {"trainer": as_trainer, "accelerate": as_accelerate}


if __name__ == "__main__":
    sys.exit(main())
