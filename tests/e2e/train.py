"""A real Trainer on a tiny Qwen2 with random weights: the COMMAND that the tests guard.

Run as a process of its own. The last line of standard output is JSON: what it ended with.
The data teach one token before `--turn_at` and another one after it, while evaluation asks for the
first one only: the evaluation loss falls, then rises, and the best checkpoint is an early one.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    Qwen2Config,
    Qwen2ForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

VOCABULARY = 64
BATCH = 2
LENGTH = 8


class Tokens(Dataset):
    """Random sequences in which one token is far more frequent: *early* ones, then others."""

    def __init__(self, count: int, turn: int) -> None:
        self.rows = torch.randint(2, VOCABULARY, (count, LENGTH))
        for row in range(count):
            self.rows[row, ::2] = 0 if row < turn else 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


class InOrder(Trainer):
    """Sees its data in their order, so that the turn comes when it is said to."""

    def _get_train_sampler(self, *_: object) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Slowly(TrainerCallback):
    """Sleeps after each step."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_step_end(self, *_: object, **__: object) -> None:
        time.sleep(self.seconds)


class Diverges(TrainerCallback):
    """Spoils one number of the weights before a step, as a batch that overflows would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: object, state: object, control: object, **kw: object) -> None:
        if state.global_step + 1 == self.step:
            trained = [p for p in kw["model"].parameters() if p.requires_grad]
            with torch.no_grad():
                trained[-1].view(-1)[0] = torch.nan


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    set_seed(7)
    trainer = built(options)
    trainer.train(resume_from_checkpoint=True if options.resume else None)
    best = trainer.state.best_model_checkpoint
    loaded = bool(best) and has_weights_of(trainer.model, best)
    if options.export:
        trainer.save_model()
        trainer.save_state()
    if trainer.is_world_process_zero():
        ended = {
            "global_step": trainer.state.global_step,
            "best_model_checkpoint": best,
            "best_loaded": loaded,
        }
        print(json.dumps(ended), flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", required=True)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--lora", action="store_true", help="an adapter (otherwise all weights)")
    kind.add_argument("--full", action="store_true")
    parser.add_argument("--max_steps", type=int, default=40)
    parser.add_argument("--save_steps", type=int, default=5)
    parser.add_argument("--save_total_limit", type=int)
    parser.add_argument("--eval", action="store_true", help="evaluate at each save, load the best")
    parser.add_argument("--turn_at", type=int, default=12, help="step at which the data change")
    parser.add_argument("--nan_at", type=int, default=0, help="step at which the weights are lost")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--step_sleep", type=float, default=0.0)
    parser.add_argument("--save_only_model", action="store_true")
    parser.add_argument("--export", action="store_true", help="save the final model as well")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--layers", type=int, default=1)
    return parser.parse_args()


def built(options: argparse.Namespace) -> InOrder:
    guarded = {"eval_strategy": "steps", "eval_steps": options.save_steps} if options.eval else {}
    arguments = TrainingArguments(
        output_dir=options.output_dir,
        max_steps=options.max_steps,
        save_steps=options.save_steps,
        save_total_limit=options.save_total_limit,
        save_only_model=options.save_only_model,
        load_best_model_at_end=options.eval,
        metric_for_best_model="eval_loss" if options.eval else None,
        per_device_train_batch_size=BATCH,
        learning_rate=0.02 if options.lora else 1e-3,
        lr_scheduler_type="constant",
        logging_steps=options.save_steps,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **guarded,
    )
    return InOrder(
        model=model(options),
        args=arguments,
        # More than needed: several ranks share them, and resuming skips some.
        train_dataset=Tokens(4 * BATCH * options.max_steps, turn=BATCH * options.turn_at),
        eval_dataset=Tokens(4, turn=4),
        callbacks=[Slowly(options.step_sleep), Diverges(options.nan_at)],
    )


def model(options: argparse.Namespace) -> torch.nn.Module:
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=options.hidden,
        intermediate_size=4 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=0,
        eos_token_id=1,
    )
    whole = Qwen2ForCausalLM(config)
    if not options.lora:
        return whole
    return get_peft_model(whole, LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.0))


def has_weights_of(trained: torch.nn.Module, checkpoint: str) -> bool:
    """Whether the weights in memory are those that the checkpoint holds."""
    adapter = os.path.join(checkpoint, "adapter_model.safetensors")
    if os.path.exists(adapter):
        saved, held = load_file(adapter), get_peft_model_state_dict(trained)
    else:
        saved = load_file(os.path.join(checkpoint, "model.safetensors"))
        held = trained.state_dict()
    return all(torch.equal(held[name], value) for name, value in saved.items())


if __name__ == "__main__":
    main()
    if torch.distributed.is_initialized():  # what still runs of it may abort the interpreter's end
        torch.distributed.destroy_process_group()
