"""Configuration: files, drop-ins and the command line's options become one frozen Settings.

pydantic and tomllib are imported only when there is a file to read: they cost more time than
all the rest of a command's start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ckptd.config.configuration import Configuration, configured_file
from ckptd.config.settings import Notify, Prometheus, Settings, Watch
from ckptd.config.sources import LARGEST, Source

if TYPE_CHECKING:
    from ckptd.policy import Policy

__all__ = [
    "LARGEST",
    "Configuration",
    "Notify",
    "Prometheus",
    "Settings",
    "Source",
    "Watch",
    "configured_file",
    "drop_in",
    "load",
    "policy_with",
]


def load(
    config: str | None, options: Mapping[str, str | list[str]], paths: Sequence[str]
) -> Settings:
    """The settings in force.

    *config* is the file that `--config` names, in place of `configured_file`; `conf.d/*.toml`
    beside it are read as well, each one stronger than those before. *options* are texts by
    `Option.key` and win over the files; *paths* replace their watches and adopt. Raises
    ConfigError with every problem of the files and of the options at once.
    """
    return Configuration(config, options, paths).settings


def drop_in(path: str, raw: bytes) -> Source:
    """What a `.ckptd.toml` at *path* says, whose bytes are *raw*; it may set `[policy]` only.

    What is wrong with it is in `problems`, never raised.
    """
    from ckptd.config import toml

    return toml.drop_in(path, raw)


def policy_with(settings: Settings, drop_ins: Sequence[Source]) -> tuple[Policy, tuple[str, ...]]:
    """The policy below *drop_ins*, the farthest first, and the names of all it came from.

    The nearest one wins key by key, the command line wins over all. Raises ConfigError with the
    problems of the drop-ins, or where they contradict themselves or the configuration.
    """
    from ckptd.config import resolve

    return resolve.policy_with(settings, drop_ins)
