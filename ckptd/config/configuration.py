"""A configuration that can change while it is in force."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ckptd.config.files import Files
from ckptd.config.settings import Settings


class Configuration:
    """What `ckptd.config.load` reads, kept so that it can be read again.

    `settings` are in force. Raises ConfigError with every problem when it is made.
    """

    def __init__(
        self, config: str | None, options: Mapping[str, str | list[str]], paths: Sequence[str]
    ) -> None:
        default = configured_file(os.geteuid(), os.environ)
        self._files = Files(os.path.abspath(config or default), required=config is not None)
        self._options = dict(options)
        self._paths = tuple(os.path.abspath(path) for path in paths)
        self.settings = self.reload()

    @property
    def file(self) -> str:
        """The absolute path of ckptd.toml, which need not exist."""
        return self._files.main

    def directories(self) -> tuple[str, ...]:
        """The absolute real paths in which a change can be one of the configuration.

        They need not exist yet.
        """
        places = (os.path.dirname(self._files.main), self._files.conf_d)
        return tuple(dict.fromkeys(os.path.realpath(place) for place in places))

    def changed(self) -> bool:
        """Whether the files are others than those that were tried last, sound or not."""
        return self._files.signs() != self._tried

    def reload(self) -> Settings:
        """The settings of the files as they are now, which are in force from then on.

        Raises ConfigError with every problem and leaves the old ones in force. A ckptd.toml that
        was there and is gone is a problem: nobody said that all of it is to be forgotten.
        """
        self._tried = self._files.signs()  # before they are read: a later change is a change
        settings = _settings(self._files, self._options, self._paths)
        self.settings = settings
        if self._files.main in settings.written.names:
            self._files = replace(self._files, required=True)
        return settings


def _settings(
    files: Files, options: Mapping[str, str | list[str]], paths: Sequence[str]
) -> Settings:
    from ckptd.config.given import of_options
    from ckptd.config.resolve import resolve

    return resolve(files.read(), of_options(options), paths)


def configured_file(uid: int, environ: Mapping[str, str]) -> str:
    """Where the configuration of root, or of the user *uid*, lies if there is one."""
    if uid == 0:
        return "/etc/ckptd/ckptd.toml"
    place = environ.get("XDG_CONFIG_HOME") or os.path.join(_home(uid), ".config")
    return os.path.join(place, "ckptd", "ckptd.toml")


def _home(uid: int) -> str:
    """$HOME, unless it is closed to us: `setpriv` and some `sudo` leave the one of who calls."""
    home = os.path.expanduser("~")
    if os.access(home, os.X_OK):
        return home
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:  # a user without a name has no home either
        return "/nonexistent"
