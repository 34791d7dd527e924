"""Configuration: one TOML file and the command line's options become one frozen Settings.

pydantic and tomllib are imported only when there is a file to read: they cost more time than
all the rest of a command's start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ckptd.config.settings import Settings, Watch

__all__ = ["Settings", "Watch", "configured_file", "load"]


def load(
    config: str | None, options: Mapping[str, str | list[str]], paths: Sequence[str]
) -> Settings:
    """The settings in force.

    *config* is the file that `--config` names; without one, `configured_file` is read if it is
    there. *options* are texts by `Option.key` and win over the file; *paths* replace its watches
    and adopt. Raises ConfigError with every problem of the file and of the options at once.
    """
    from ckptd.config.resolve import resolve
    from ckptd.config.sources import Source, choices, of_options

    default = configured_file(os.geteuid(), os.environ)
    file = config if config is not None else default if os.path.lexists(default) else None
    sources: list[Source] = []
    if file is not None:
        from ckptd.config.toml import read

        sources.append(read(file))
    if options:
        sources.append(of_options(options))
    return resolve(choices(sources), paths)


def configured_file(uid: int, environ: Mapping[str, str]) -> str:
    """Where the configuration of root, or of the user *uid*, lies if there is one."""
    if uid == 0:
        return "/etc/ckptd/ckptd.toml"
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(home, "ckptd", "ckptd.toml")
