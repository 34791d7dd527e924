"""Which directories the configured watches are, and which of them has a run."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Sequence
from dataclasses import replace

from ckptd import beneath
from ckptd.config import Watch
from ckptd.errors import RefusedError, UnansweredError
from ckptd.model import Unreadable
from ckptd.mounts import reaching


def resolved(watches: Sequence[Watch]) -> tuple[tuple[Watch, ...], tuple[Unreadable, ...]]:
    """The configured *watches*, each a real path that may not exist yet, and what stays out.

    That is one which a stranger's link leads to, or which lies where nobody answers.
    """
    found: dict[Watch, None] = {}
    astray: list[Unreadable] = []
    for watch in watches:
        for path in _named(watch):
            try:
                found[replace(watch, path=beneath.resolve(path))] = None
            except UnansweredError as error:
                astray.append(Unreadable(path, str(error), unanswered=True))
            except (RefusedError, OSError) as error:
                astray.append(Unreadable(path, str(error)))
    return tuple(found), tuple(astray)


def is_below(path: str, directory: str) -> bool:
    """Whether *path* is *directory* or lies below it."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def nearest(run: str, watches: Sequence[Watch]) -> Watch | None:
    """Which of *watches* has *run*: one named on the command line, else the deepest it lies in."""
    having = [watch for watch in watches if is_below(run, watch.path)]
    return max(having, key=lambda watch: (watch.named, len(watch.path)), default=None)


def expand(pattern: str) -> tuple[str, ...]:
    """The real directories that a watch's path or glob names; a plain path need not exist yet."""
    return tuple(dict.fromkeys(os.path.realpath(path) for path in _matching(pattern)))


def _named(watch: Watch) -> Sequence[str]:
    # A PATH means itself: `exp[lr=1e-4]` may not exist yet, and the shell expands globs.
    return [os.path.abspath(watch.path)] if watch.named else _matching(watch.path)


def _matching(pattern: str) -> Sequence[str]:
    """The absolute paths that a watch's path or glob names."""
    pattern = os.path.abspath(pattern)
    if not glob.has_magic(pattern) or _is_there(pattern):
        return [pattern]
    found = ["/"]
    for part in pattern.strip("/").split("/"):
        found = [path for here in found for path in _in(here, part)]
    return sorted(found)


def _in(here: str, part: str) -> Sequence[str]:
    """What in the directory *here* is named *part*; that itself where nobody answers."""
    below = os.path.join(here, part)
    try:
        with reaching(here):
            if glob.has_magic(part):
                return [os.path.join(here, n) for n in os.listdir(here) if _fits(n, part)]
            return [below] if os.path.lexists(below) else []
    except UnansweredError:
        return [below]
    except OSError:
        return []


def _fits(name: str, part: str) -> bool:
    hidden = name.startswith(".") and not part.startswith(".")
    return not hidden and fnmatch.fnmatchcase(name, part)


def _is_there(path: str) -> bool:
    try:
        with reaching(path):
            return os.path.lexists(path)
    except UnansweredError:
        return False
