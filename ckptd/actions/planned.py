"""Looking again before an act: is what lies there what the plan was made for?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from ckptd import beneath, scan
from ckptd.errors import RefusedError
from ckptd.model import Checkpoint, Run
from ckptd.trash import opened
from ckptd.units import show_text


@dataclass(frozen=True, slots=True)
class Planned:
    """A checkpoint that is what was planned: its run and itself, open, and whose rights act."""

    run_fd: int
    fd: int
    uid: int
    gid: int

    def as_owner(self) -> AbstractContextManager[None]:
        return beneath.as_owner(self.uid, self.gid)


@contextmanager
def planned(run: Run, checkpoint: Checkpoint) -> Iterator[Planned]:
    """*checkpoint* of *run*, open, if both are still the same.

    RefusedError when one was replaced or changed, or when root finds a checkpoint that is not its
    run's owner's. Raises OSError and UnreadableError.
    """
    with opened(beneath.open_directory(run.path)) as run_fd:
        seen = os.fstat(run_fd)
        if (seen.st_dev, seen.st_ino) != (run.device, run.inode):
            raise RefusedError(f"{show_text(run.path)} is no longer the run that was planned for")
        with opened(beneath.open_beneath(run_fd, checkpoint.name)) as fd:
            uid, gid = _owner(run, checkpoint.path, seen, os.fstat(fd))
            with beneath.as_owner(uid, gid):
                now = scan.identity(scan.tree(run_fd, checkpoint.name))
            if now != checkpoint.identity:
                raise RefusedError(f"{show_text(checkpoint.path)} changed since the plan was made")
            yield Planned(run_fd, fd, uid, gid)


def _owner(
    run: Run, path: str, directory: os.stat_result, checkpoint: os.stat_result
) -> tuple[int, int]:
    """Whose rights act: our own, or as root those of the checkpoint's owner."""
    if os.geteuid() != 0 or run.mixed_owners:
        return os.geteuid(), os.getegid()
    if directory.st_uid != checkpoint.st_uid:
        raise RefusedError(
            f"{show_text(path)} belongs to another user than its run does",
            hint="mixed_owners = true in its [[watch]] lets root act on it all the same",
        )
    return checkpoint.st_uid, checkpoint.st_gid
