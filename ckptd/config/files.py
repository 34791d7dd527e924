"""Which files are the configuration: ckptd.toml, and conf.d/*.toml beside it in name order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ckptd.config.sources import Source, put_together
from ckptd.errors import Problem
from ckptd.units import show_text

Signs = Mapping[str, tuple[int, ...] | int]
"""By path, what a look at it tells its next version by; or the error that it gave."""


@dataclass(frozen=True, slots=True)
class Files:
    """The absolute path of ckptd.toml, and whether it must be there."""

    main: str
    required: bool

    @property
    def conf_d(self) -> str:
        return os.path.join(os.path.dirname(self.main), "conf.d")

    def read(self) -> Source:
        """What all of them say, the weakest first, with everything that is wrong."""
        try:
            further = self._further()
        except OSError as error:
            text = f"it cannot be listed: {error.strerror}"
            unseen = Source(problems=(Problem(show_text(self.conf_d), text),))
            return put_together([*self._sources(()), unseen])
        return put_together(self._sources(further))

    def _sources(self, further: tuple[str, ...]) -> list[Source]:
        paths = (*((self.main,) if self.required or _there(self.main) else ()), *further)
        if not paths:
            return []
        from ckptd.config.toml import read

        return [read(path) for path in paths]

    def _further(self) -> tuple[str, ...]:
        """The files of conf.d. Raises OSError when it is there and cannot be listed."""
        if not _there(self.conf_d):
            return ()
        names = sorted(os.listdir(self.conf_d))
        wanted = [name for name in names if name.endswith(".toml") and not name.startswith(".")]
        return tuple(os.path.join(self.conf_d, name) for name in wanted)

    def signs(self) -> Signs:
        """What tells these files from a later state of them, without reading one."""
        try:
            further = self._further()
        except OSError as error:
            return {self.main: _sign(self.main), self.conf_d: error.errno or 0}
        return {path: _sign(path) for path in (self.main, *further)}


def _there(path: str) -> bool:
    """Whether something is at *path*, be it a dangling link. What cannot be seen may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _sign(path: str) -> tuple[int, ...] | int:
    try:
        seen = os.stat(path)
    except OSError as error:
        return error.errno or 0
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
