"""The filesystem under the state directory: one that is unmounted is not one that was removed."""

from __future__ import annotations

import os


class Ground:
    """What the state directory *path* lies on, from when this is made.

    A directory of the same name on what is left where it was mounted holds nothing that survives
    its next mount: the next mount covers it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.renew()

    def renew(self) -> None:
        """From now on it is the one that is there now."""
        self._device = _device(self._path)

    def is_away(self, name: str) -> bool:
        """Whether another filesystem is in its place, and none that holds our file *name*."""
        holds = os.path.lexists(os.path.join(self._path, name))
        return not holds and _device(self._path) != self._device


def _device(path: str) -> int:
    """Of *path*, or of the nearest directory above it that is there."""
    path = os.path.abspath(path)
    while True:
        try:
            return os.stat(path).st_dev
        except OSError:
            if path == "/":
                raise
            path = os.path.dirname(path)
