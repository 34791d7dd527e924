"""Which of a Trainer's files a name stands for.

From transformers' trainer.py (5.23), PEFT, TRL, DeepSpeed and FSDP as the Trainer calls them, and
from real trees. A name in none of these tables is nobody's: it neither proves nor disproves.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from ckptd.model import Role


class What(StrEnum):
    """The logical kind of a file; what siblings are compared by."""

    MARKER = "marker"
    WEIGHTS = "weights"
    OPTIMIZER = "optimizer"
    SCHEDULER = "scheduler"
    SCALER = "scaler"
    RNG = "rng"
    TRAINING_ARGS = "training_args"
    CONFIG = "config"
    DEEPSPEED = "deepspeed"
    FSDP = "fsdp"


MARKER: Final = "trainer_state.json"
TRAINING_ARGS: Final = "training_args.bin"
# Lies in the directory while a save begun by SIGTERM is under way (trainer_jit_checkpoint.py).
INCOMPLETE: Final = "checkpoint-is-incomplete.txt"
# What rank 0 writes before the marker. Other ranks write rng_state_<rank>.pth without a barrier.
RANK_ZERO_RNG: Final = "rng_state.pth"

_KINDS: Final = tuple(
    (what, re.compile(pattern))
    for what, pattern in (
        (What.MARKER, re.escape(MARKER)),
        (What.DEEPSPEED, r"global_step[0-9]+(/.*)?"),
        (What.FSDP, r"(pytorch_model_fsdp|optimizer)(_[0-9]+)(/.*)?|pytorch_model_fsdp\.bin"),
        (What.WEIGHTS, r"(.*/)?[^/]+\.safetensors(\.index\.json)?"),
        (What.WEIGHTS, r"(.*/)?(adapter_model|pytorch_model|v_head|value_head)[^/]*\.bin"),
        (What.WEIGHTS, r"pytorch_model[^/]*\.bin\.index\.json"),
        (What.OPTIMIZER, r"optimizer\.(pt|bin)"),
        (What.SCHEDULER, r"scheduler\.pt"),
        (What.SCALER, r"scaler\.pt"),
        (What.RNG, r"rng_state(_[0-9]+)?\.pth"),
        (What.TRAINING_ARGS, re.escape(TRAINING_ARGS)),
        (What.CONFIG, r"(config|generation_config|adapter_config)\.json"),
    )
)
_RANK: Final = re.compile(r"rng_state_[0-9]+\.pth")
_CUT_SAVE: Final = re.compile(r"(.*/)?\.tmp[A-Za-z0-9]{6}")
_ROLES: Final = {
    What.WEIGHTS: Role.WEIGHTS,
    What.OPTIMIZER: Role.OPTIMIZER,
    What.SCHEDULER: Role.OPTIMIZER,
    What.SCALER: Role.OPTIMIZER,
    What.RNG: Role.RNG,
}
# Names that Accelerate, diffusers, SimpleTuner, LLaMA-Factory v1 and Megatron put into a
# directory called checkpoint-<step>, and that no Trainer writes.
_STRANGER: Final = re.compile(
    r"random_states_[0-9]+\.pkl|scheduler(_[0-9]+)?\.bin|sampler(_[0-9]+)?\.bin"
    r"|dl_state_dict(_[0-9]+)?\.bin|custom_checkpoint_[0-9]+\.pkl"
    r"|pytorch_lora_weights\.safetensors"
    r"|(unet|unet_ema|transformer|transformer_ema|text_encoder|vae|controlnet)(_lora)?"
    r"|model_index\.json|\.guard|checkpoint_manifest\.json|CHECKPOINT_COMPLETE"
    r"|iter_[0-9]{7}|latest_checkpointed_iteration\.txt"
)
_EXPORT: Final = re.compile(
    r"(adapter_)?model\.safetensors|model-[0-9]{5}-of-[0-9]{5}\.safetensors"
    r"|(adapter_model|pytorch_model)[^/]*\.bin|[^/]+\.(safetensors|bin)\.index\.json"
    r"|(config|generation_config|adapter_config)\.json|training_args\.bin"
    r"|tokenizer[^/]*|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt"
    r"|chat_template\.(jinja|json)|(pre)?processor_config\.json"
)


def what(path: str) -> What | None:
    """What the Trainer's file at *path* is, relative to the checkpoint; None for all others."""
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(path)), None)


def role(path: str) -> Role:
    """The part that *path* belongs to, if there are whole weights at the top level."""
    kind = what(path)
    if kind is What.DEEPSPEED:
        return Role.OPTIMIZER
    if kind is What.FSDP:
        return Role.OPTIMIZER if path.startswith("optimizer") else Role.WEIGHTS
    return Role.OTHER if kind is None else _ROLES.get(kind, Role.OTHER)


def is_core(path: str) -> bool:
    """Whether rank 0 writes *path* before the marker, in every Trainer."""
    if what(path) is What.RNG:
        return path == RANK_ZERO_RNG
    ordered = {What.WEIGHTS, What.OPTIMIZER, What.SCHEDULER, What.SCALER, What.TRAINING_ARGS}
    return "/" not in path and what(path) in ordered


def is_late(path: str) -> bool:
    """Whether *path* may come after the marker: other ranks, sub-directories, shards."""
    ordered = {What.WEIGHTS, What.RNG, What.DEEPSPEED, What.FSDP}
    return what(path) in ordered and not is_core(path)


def is_rank(path: str) -> bool:
    """Whether *path* is the random state of one of several ranks."""
    return _RANK.fullmatch(path) is not None


def is_cut_save(path: str) -> bool:
    """Whether *path* is a temporary file of safetensors, renamed when it is written."""
    return _CUT_SAVE.fullmatch(path) is not None


def is_strange(path: str) -> bool:
    """Whether *path* is written by another framework into a directory named like this one."""
    return _STRANGER.fullmatch(path) is not None


def is_export(name: str) -> bool:
    """Whether a file *name* beside the checkpoints belongs to a final export."""
    return _EXPORT.fullmatch(name) is not None
