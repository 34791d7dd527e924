"""In whose rights a save is read: never in more than those of whom it is shown to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ckptd import beneath
from ckptd.errors import UnreadableError


@contextmanager
def rights(run: os.stat_result, run_fd: int, name: str, *, mixed: bool) -> Iterator[None]:
    """Look at the save *name* in the open run as the run's owner would, where we are root.

    What is found is shown to that user (`status`), who must not learn from us what a hard link in
    a save leads to. Root's run is shown to root alone: there the save's owner reads, whom a
    server that takes root for nobody knows. *mixed*: `mixed_owners`, root looks as root.
    """
    owner = run if run.st_uid else _save_of(run_fd, name) or run
    if os.geteuid() != 0 or mixed or owner.st_uid == 0:
        yield
        return
    try:
        with beneath.as_owner(owner.st_uid, owner.st_gid):
            yield
    except UnreadableError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        raise UnreadableError(
            f"{error.message}; it is read in the rights of user {owner.st_uid} alone"
        ) from error.__cause__


def _save_of(run_fd: int, name: str) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=run_fd)
    except OSError:
        return None
