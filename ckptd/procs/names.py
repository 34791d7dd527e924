"""The paths that command lines name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from ckptd import beneath, mounts
from ckptd.errors import UnansweredError
from ckptd.procs.process import Process

_LONGEST_PATH: Final = 4095
_MOST_PIECES: Final = 1000  # paths that one argument may name
_TRIES: Final = 3  # to resolve a path
_BETWEEN: Final = re.compile(r"""[\s,;:="'()<>|&{}\[\]]+""")


class Names:
    """The absolute paths that command lines may name, as they stand and with links resolved.

    The workers of one training share directory and arguments: each is resolved once.
    """

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], frozenset[str]] = {}
        self._directories: dict[str, str] = {}

    def of(self, process: Process) -> Iterator[str]:
        for token in process.argv:
            key = (process.cwd, token)
            if key not in self._tokens:
                self._tokens[key] = frozenset(self._paths(*key))
            yield from self._tokens[key]

    def _paths(self, cwd: str, token: str) -> Iterator[str]:
        _, equals, value = token.partition("=")
        texts = [] if token.startswith("-") else [token]
        texts += [value, value.rpartition("=")[2]] if equals else []
        # A list, a JSON object or the script of `sh -c` may name several.
        pieces = (piece for piece in _BETWEEN.split(token) if "/" in piece)
        texts += islice(pieces, _MOST_PIECES)
        for text in filter(None, texts):
            path = text if text.startswith("/") else cwd and f"{cwd}/{text}"
            if path and len(path) <= _LONGEST_PATH:
                yield "/" + os.path.normpath(path).lstrip("/")
                yield self._resolved(path)

    def _resolved(self, path: str) -> str:
        above, name = os.path.split(path)
        if name in {"", ".", ".."}:
            return _real(path)
        if above not in self._directories:
            self._directories[above] = _real(above)
        real = os.path.join(self._directories[above], name)
        return _real(real) if _is_link(real) else real


def _real(path: str) -> str:
    """*path* without links. As it stands where a link in it cannot be read, or leads on for ever.

    What others name may be swapped while it is read: then once more.
    """
    for _ in range(_TRIES):
        with suppress(OSError, RecursionError):
            return beneath.real(path)
    return "/" + os.path.normpath(path).lstrip("/")


def _is_link(path: str) -> bool:
    with suppress(UnansweredError), mounts.reaching(path):
        return os.path.islink(path)
    return False
