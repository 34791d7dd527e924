"""The door to the kernel: files are reached by descriptor, never by an absolute path again.

Whoever may write to a directory can swap one of its names for a symbolic link between our look
and our act. So every act starts at an open directory and goes down from it without following a
link or leaving the filesystem, in the rights of the owner. Failures are OSErrors, for the caller
to put into words; RefusedError where the thing found is not the thing meant.
"""

from ckptd.beneath.moving import rename_noreplace, rename_onto_absent, writable
from ckptd.beneath.opening import (
    DIRECTORY,
    open_beneath,
    open_by_kernel,
    open_by_walk,
    open_directory,
    open_file,
    open_nearest,
    open_regular,
)
from ckptd.beneath.owner import as_owner, as_owner_of
from ckptd.beneath.resolving import real, resolve
from ckptd.beneath.signs import PIN, ignore_lease_signals, locked, open_for, pin, pinned, unpin
from ckptd.beneath.unlinking import unlink_tree

__all__ = [
    "DIRECTORY",
    "PIN",
    "as_owner",
    "as_owner_of",
    "ignore_lease_signals",
    "locked",
    "open_beneath",
    "open_by_kernel",
    "open_by_walk",
    "open_directory",
    "open_file",
    "open_for",
    "open_nearest",
    "open_regular",
    "pin",
    "pinned",
    "real",
    "rename_noreplace",
    "rename_onto_absent",
    "resolve",
    "unlink_tree",
    "unpin",
    "writable",
]
