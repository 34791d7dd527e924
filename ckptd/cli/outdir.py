"""Finds the output directory that a training command names: in its words, or in a file they name.

Trainers let the command line win over their file, so words are searched first.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Final

# The most telling first: a command may name several.
KEYS: Final = (
    "output_dir",
    "save_dir",
    "checkpoint_dir",
    "checkpoints_dir",
    "ckpt_dir",
    "out_dir",
    "outdir",
    "project_dir",
    "default_root_dir",
    "output",
)
FILES: Final = (".yaml", ".yml", ".json")
LARGEST_FILE: Final = 2**20
DEEPEST: Final = 6
LONGEST_PATH: Final = 4095


def output_directory(command: Sequence[str]) -> str | None:
    """The directory that *command* says it saves to, as written; None when it says none."""
    words = list(_words(command))
    return _first(_named(words)) or _first(_in_files(words))


def named_paths(command: Sequence[str]) -> frozenset[str]:
    """The real paths of what exists and *command* names, in its words or in a file they name."""
    words = list(_words(command))
    inside = (word.partition("=")[2] for word in words)
    values = {*words, *inside, *(value for _, value in _in_files(words))}
    return frozenset(os.path.realpath(v) for v in values if v and "\0" not in v and _exists(v))


def _exists(path: str) -> bool:
    return len(path) <= LONGEST_PATH and os.path.lexists(path)


def _words(command: Sequence[str]) -> Iterator[str]:
    """The words of a command; of a `sh -c 'words'` those inside as well."""
    for previous, word in zip(("", *command), command, strict=False):
        yield word
        if previous in ("-c", "-lc", "-xc", "-ec"):
            try:
                yield from shlex.split(word)
            except ValueError:  # an open quotation mark: the shell will say so itself
                continue


def _named(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Key and value of `--key value`, `--key=value` and `some.key=value`."""
    for word, following in zip(words, (*words[1:], ""), strict=True):
        name, equals, value = word.partition("=")
        if equals and value and " " not in name:
            yield _key(name), value
        elif word.startswith("--") and following and not following.startswith("-"):
            yield _key(word), following


def _in_files(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        path = word.rpartition("=")[2]
        if path.endswith(FILES) and os.path.isfile(path):
            yield from _keys_in(_parsed(path), 0)


def _parsed(path: str) -> object:
    """What a YAML or JSON file says; None when it is too large or does not parse.

    The trainer will complain of its own file in its own words.
    """
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(LARGEST_FILE)
        return json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _keys_in(value: object, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict) or depth > DEEPEST:
        return
    for name, below in value.items():
        if isinstance(below, str) and below:
            yield _key(str(name)), below
        yield from _keys_in(below, depth + 1)


def _key(name: str) -> str:
    """`--training.output-dir` and `+output_dir` as `output_dir`."""
    return name.lstrip("-+").rpartition(".")[2].replace("-", "_").lower()


def _first(found: Iterator[tuple[str, str]]) -> str | None:
    values = dict(found)  # as in argparse, the last one wins
    return next((values[key] for key in KEYS if key in values), None)
