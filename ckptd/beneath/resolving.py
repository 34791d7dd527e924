"""Following links to where a watch really is, and no further than whoever made them may lead."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ckptd.errors import RefusedError, UnansweredError
from ckptd.mounts import now, reaching
from ckptd.units import show_text

_MOST_LINKS: Final = 40  # as the kernel: path_resolution(7)


def resolve(path: str) -> str:
    """The real path that the absolute *path* leads to; what does not exist is taken as it stands.

    RefusedError where a link on the way is another user's and leads to what is not theirs: they
    could turn what is asked for *path* against the files of others (systemd calls that an unsafe
    transition). A link of root, of ours, or to its maker's own directory is followed. Raises
    OSError ELOOP for links without end, UnansweredError where a filesystem on the way does not
    answer.
    """
    way = _Way([*reversed(_names(path))])
    while way.ahead:
        way.step()
    owner = _owner(way.here)
    for link, uid in way.links:
        if uid not in {0, os.geteuid(), owner}:
            raise RefusedError(
                f"the link {show_text(link)} of user {uid} leads to {show_text(way.here)}, which"
                f" is user {owner}'s, so it is not followed",
                hint="name the directory itself if it is meant",
            )
    return way.here


@dataclass(slots=True)
class _Way:
    """Where we are, the names still ahead (the next one last), the links that led here."""

    ahead: list[str]
    here: str = "/"
    links: list[tuple[str, int]] = field(default_factory=list)

    def step(self) -> None:
        name = self.ahead[-1]
        if name == "..":
            self.ahead.pop()
            self.here = os.path.dirname(self.here)
            return
        path = os.path.join(self.here, name)
        with reaching(path):
            try:
                seen = os.lstat(path)
                target = os.readlink(path) if stat.S_ISLNK(seen.st_mode) else None
            except OSError:
                target, seen = None, None
        self.ahead.pop()
        if target is None or seen is None:
            self.here = path
            return
        self.links.append((path, seen.st_uid))
        if len(self.links) > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        self.here = "/" if target.startswith("/") else self.here
        self.ahead += reversed(_names(target))


def real(path: str) -> str:
    """The absolute *path* without links, as far as what is on its way exists and answers.

    For telling apart what is meant, not for acting on it.
    """
    if not now().points:
        return os.path.realpath(path)
    way = _Way([*reversed(_names(path))])
    with suppress(UnansweredError, OSError):
        while way.ahead:
            way.step()
    return os.path.normpath(os.path.join(way.here, *reversed(way.ahead)))


def _names(path: str) -> Sequence[str]:
    return [name for name in path.split("/") if name not in {"", "."}]


def _owner(path: str) -> int:
    """Whose *path* is, or the nearest directory above it that exists."""
    while True:
        try:
            with reaching(path):
                return os.lstat(path).st_uid
        except OSError:
            if path == "/":
                return 0
            path = os.path.dirname(path)
