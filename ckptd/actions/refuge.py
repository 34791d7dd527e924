"""Where acts are recorded when the ledger's own disk fails: in the trash, with the lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

from ckptd import beneath, disk
from ckptd.actions.lock import open_trash_of, place_of
from ckptd.errors import CkptdError
from ckptd.ledger import Ledger, has_refuge
from ckptd.model import TRASH
from ckptd.mounts import asked, step
from ckptd.trash import opened

PLENTY: Final = 16 * 2**20  # bytes: a refuge takes a thirty-second of that


def offer(ledger: Ledger, watch: str, is_run: Callable[[str], bool]) -> None:
    """Makes one for acts in *watch*, while there is room for it.

    Where none can be made, the ledger's own disk is all there is.
    """
    if ledger.has_refuge(watch):
        return
    with suppress(CkptdError, OSError):
        place = place_of(watch, is_run)
        with opened(open_trash_of(place)) as trash_fd:
            # The last room is the training's, unless nothing could be let go any more without it.
            if has_refuge(trash_fd) or ledger.trouble or disk.free(place)[0] > PLENTY:
                ledger.take_refuge(watch, place, trash_fd)


def reopen(ledger: Ledger, paths: Iterable[str]) -> None:
    """Takes what an earlier process left in the trash of *paths* and above them. Makes none."""
    for place in dict.fromkeys(above for path in paths for above in _and_above(path)):
        with suppress(CkptdError, OSError):
            asked(place, partial(_take, ledger, place))


def _take(ledger: Ledger, place: str) -> None:
    with (
        opened(beneath.open_directory(place)) as place_fd,
        opened(beneath.open_beneath(place_fd, TRASH)) as trash_fd,
    ):
        step()
        if has_refuge(trash_fd):
            ledger.take_refuge(place, place, trash_fd)


def _and_above(path: str) -> Iterator[str]:
    yield path
    while path != "/":
        path = os.path.dirname(path)
        yield path
