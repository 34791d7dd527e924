"""Unlinking in the run itself, for want of a trash: claimed by a rename where that is possible."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ckptd import beneath
from ckptd.actions.planned import Planned, look_once_more, planned
from ckptd.actions.trash import explained, sync_after
from ckptd.formats import STRICT
from ckptd.model import Checkpoint, Run
from ckptd.mounts import step
from ckptd.trash import PURGING, opened


def remove(run: Run, checkpoint: Checkpoint, *, id: str) -> int:  # noqa: A002 - the word of DESIGN section 4
    """Unlink *checkpoint* in its run, claimed under *id* first; the bytes that freed.

    For `trash_for = "0s"` and for demand where no trash is possible. Where it cannot be renamed
    either, a trainer may see it half gone. With a place, `move_in` and `purge` are better. Raises
    as `move_in` does.
    """
    with (
        explained(checkpoint.path, "unlinked"),
        planned(run, checkpoint) as found,
        found.as_owner(),
    ):
        look_once_more(found, run, checkpoint)
        who = checkpoint.identity
        with _claimed(found, run, checkpoint, id) as name:
            freed = beneath.unlink_tree(found.run_fd, name, device=who.device, inode=who.inode)
        sync_after(found.run_fd)
    return freed


def finish_removal(run: str, id: str) -> bool:  # noqa: A002 - as above
    """Unlink what `remove` had claimed under *id* in *run*; whether it had.

    Raises OSError, and ActionError when the system says no.
    """
    name = _claim(id)
    with explained(run, "unlinked"), opened(beneath.open_directory(run)) as run_fd:
        try:
            seen = os.lstat(name, dir_fd=run_fd)
        except FileNotFoundError:
            return False
        with beneath.as_owner(seen.st_uid, seen.st_gid):
            beneath.unlink_tree(run_fd, name, device=seen.st_dev, inode=seen.st_ino)
            sync_after(run_fd)
    return True


def _claim(id_: str) -> str:
    """Hidden, and no framework's name: what is being unlinked in a run is no checkpoint of it."""
    return f".{id_}{PURGING}"


@contextmanager
def _claimed(found: Planned, run: Run, checkpoint: Checkpoint, id_: str) -> Iterator[str]:
    """The name in its run under which *checkpoint* can be unlinked, as no one's any more.

    What could not be unlinked lies under its old name again. Its own name is all there is where
    a trainer dies of unknown ones, in a lower layer of an overlay, which renames nothing, and
    where there is no room for a longer one.
    """
    name = checkpoint.name
    step()
    if os.path.basename(run.path) != STRICT:
        with _where_possible():
            beneath.rename_noreplace(found.run_fd, checkpoint.name, found.run_fd, _claim(id_))
            name = _claim(id_)
    try:
        yield name
    except BaseException:
        if name != checkpoint.name:
            with suppress(OSError):
                beneath.rename_noreplace(found.run_fd, name, found.run_fd, checkpoint.name)
        raise


@contextmanager
def _where_possible() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.ENOSPC, errno.EDQUOT}:
            raise
