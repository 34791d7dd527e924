"""Who else may write a file, or put another one in its place."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_MOST_LINKS: Final = 40  # as the kernel follows on one way


@dataclass(frozen=True, slots=True)
class Found:
    """A path that others may write, and by what."""

    path: str
    why: str


class Writable:
    """Looks for what others than the *trusted* users may write. Nothing is looked at twice."""

    def __init__(self, trusted: Collection[int]) -> None:
        self._trusted = frozenset(trusted)
        self._seen: set[str] = set()

    def by_others(self, path: str) -> Found | None:
        """The first thing that they may write: on the way to *path*, it, or anything below it.

        What is not there is looked for on the way only: who may make it may write it.
        """
        pending = [os.path.abspath(path)]
        while pending:
            here = pending.pop()
            if here in self._seen:
                continue
            self._seen.add(here)
            if found := self._on_the_way(here):
                return found
            real = os.path.realpath(here)
            if os.path.isdir(real):
                found, links = self._below(real)
                if found:
                    return found
                pending += links
        return None

    def _on_the_way(self, path: str) -> Found | None:
        steps = [(here, seen) for here, seen in _steps(path) if not stat.S_ISLNK(seen.st_mode)]
        last = steps[-1][0]
        for here, seen in steps:
            # Above, in a sticky directory, a name is only its owner's to change.
            sticky = here != last and seen.st_mode & stat.S_ISVTX and seen.st_uid in self._trusted
            if not sticky and (why := self._why(here, seen)):
                return Found(here, why)
        return None

    def _below(self, top: str) -> tuple[Found | None, list[str]]:
        """What others may write below the directory *top*, and the links there."""
        links, pending = [], [top]
        while pending:
            # What is closed to us we do not run either.
            with suppress(FileNotFoundError, PermissionError), os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        links.append(entry.path)
                        continue
                    seen = entry.stat(follow_symlinks=False)
                    if why := self._why(entry.path, seen):
                        return Found(entry.path, why), []
                    if stat.S_ISDIR(seen.st_mode) and entry.path not in self._seen:
                        self._seen.add(entry.path)
                        pending.append(entry.path)
        return None, links

    def _why(self, path: str, seen: os.stat_result) -> str:
        """Why others may write what was *seen* at *path*; empty where they may not."""
        if seen.st_uid not in self._trusted:
            return self._owner(seen.st_uid)
        if seen.st_mode & stat.S_IWOTH:
            return "may be written by everybody"
        if seen.st_mode & stat.S_IWGRP:
            if "system.posix_acl_access" in _attributes(path):
                return "may be written by those in its access list"
            if self._is_shared(seen.st_gid):
                return f"may be written by the group {_group(seen.st_gid)}"
        return ""

    def _owner(self, uid: int) -> str:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = f"the user {uid}"
        return f"belongs to {name}"

    def _is_shared(self, gid: int) -> bool:
        """Whether anybody but the trusted may be in the group; Debian's `staff` has nobody."""
        return gid in self._shared or gid not in self._known

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(group.gr_gid for group in grp.getgrall())

    @cached_property
    def _shared(self) -> frozenset[int]:
        users = pwd.getpwall()
        trusted = {user.pw_name for user in users if user.pw_uid in self._trusted}
        first = {user.pw_gid for user in users if user.pw_name not in trusted}
        named = {group.gr_gid for group in grp.getgrall() if {*group.gr_mem} - trusted}
        return frozenset(first | named)


def _steps(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything on the way to *path* from `/`, links and what they lead to, as far as it exists.

    Raises OSError where the way turns in a circle, or is closed.
    """
    names = [name for name in reversed(path.split("/")) if name]
    here, links = "/", 0
    yield here, os.lstat(here)
    while names:
        name = names.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        below = os.path.join(here, name)
        try:
            seen = os.lstat(below)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield below, seen
        if not stat.S_ISLNK(seen.st_mode):
            here = below
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        target = os.readlink(below)
        here = "/" if target.startswith("/") else here
        names += [part for part in reversed(target.split("/")) if part not in ("", ".")]


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
