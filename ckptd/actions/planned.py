"""Looking again before an act: is what lies there what the plan was made for?"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from ckptd import beneath, formats, scan
from ckptd.errors import OvertakenError, RefusedError
from ckptd.model import Checkpoint, Run
from ckptd.observe.save import opened as in_use
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
    with opened(_the_same(run)) as run_fd:
        seen = os.fstat(run_fd)
        with opened(_open(run, run_fd, seen, checkpoint.name)) as fd:
            uid, gid = _owner(run, checkpoint.path, seen, os.fstat(fd))
            with beneath.as_owner(uid, gid):
                now = scan.identity(scan.tree(run_fd, checkpoint.name))
            if now != checkpoint.identity:
                raise OvertakenError(changed(checkpoint))
            yield Planned(run_fd, fd, uid, gid)


def check_run(run: Run) -> None:
    """RefusedError where *run* is another one by now, or nothing in it can be changed."""
    shown = show_text(run.path)
    try:
        with opened(_the_same(run)) as run_fd:
            flags = os.fstatvfs(run_fd).f_flag
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise RefusedError(
            f"{shown} cannot be opened ({words}), so nothing in it is touched"
        ) from error
    if flags & os.ST_RDONLY:
        raise RefusedError(
            f"{shown} is mounted read-only, so nothing in it can go",
            hint="mount it writable, or leave it out of the watches",
        )


def _the_same(run: Run) -> int:
    """A descriptor of the directory of *run*, if it is the same. RefusedError, OSError."""
    run_fd = beneath.open_directory(run.path)
    seen = os.fstat(run_fd)
    if (seen.st_dev, seen.st_ino) != (run.device, run.inode):
        os.close(run_fd)
        raise OvertakenError(
            f"{show_text(run.path)} is no longer the run that was planned for, so it is left alone"
        )
    return run_fd


def look_once_more(found: Planned, run: Run, checkpoint: Checkpoint) -> None:
    """Between the intent and the rename: RefusedError where something came in between.

    The intent and a sidecar wait for the disk, and meanwhile trainers and people go on.
    """
    shown = show_text(checkpoint.path)
    if beneath.pinned(found.fd) and not checkpoint.pinned:
        raise OvertakenError(f"{shown} was pinned a moment ago, so it stays")
    tree = scan.tree(found.run_fd, checkpoint.name)
    if not checkpoint.identity.is_untouched(scan.identity(tree)):
        raise OvertakenError(changed(checkpoint))
    if run.leases and in_use(found.fd, tree):
        raise OvertakenError(f"{shown} was opened by a process a moment ago, so it stays")
    if _has_just_saved(found.run_fd, run.breath):
        raise OvertakenError(
            f"a save of the run of {shown} was completed a moment ago; it stays for now"
        )


def changed(checkpoint: Checkpoint) -> str:
    """The sentence for one that is not what it was."""
    return f"{show_text(checkpoint.path)} changed since the plan was made, so it stays"


def _has_just_saved(run_fd: int, breath: float) -> bool:
    """Whether a save of the open run was completed within so many seconds, by its own file times.

    Its trainer may be listing its saves at this moment. Where clocks differ this sees nothing;
    the look before asked a clock of ours.
    """
    now = time.time()
    with os.scandir(run_fd) as names:
        saves = [name.name for name in names if name.is_dir(follow_symlinks=False)]
    for save in saves:
        for marker in formats.markers():
            with suppress(OSError):
                seen = os.lstat(f"{save}/{marker}", dir_fd=run_fd)
                if 0 <= now - seen.st_mtime < breath:
                    return True
    return False


def _open(run: Run, run_fd: int, directory: os.stat_result, name: str) -> int:
    try:
        if run.mixed_owners:
            return beneath.open_beneath(run_fd, name)
        with beneath.as_owner(directory.st_uid, directory.st_gid):
            return beneath.open_beneath(run_fd, name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shown = show_text(f"{run.path}/{name}")
        raise RefusedError(f"another filesystem is mounted on {shown}, so it stays") from error


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
