"""One watch: whether it can be seen, written and cared for. Reads; makes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ckptd import disk
from ckptd.actions import lock, place
from ckptd.check.finding import Check, State
from ckptd.config import Watch
from ckptd.errors import RefusedError, UnreadableError
from ckptd.model import Run, Unreadable
from ckptd.observe.watches import is_below
from ckptd.render.report import Teller
from ckptd.render.wording import counted
from ckptd.units import show_bytes, show_text

_STANDS_BY = "another one would stand by"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look saw of one watch, whose path is real and may not exist yet.

    `frozen` are drop-ins that concern it and cannot be obeyed, `tellers` daemons that run.
    """

    watch: Watch
    runs: tuple[Run, ...]
    unreadable: tuple[Unreadable, ...]
    frozen: tuple[Unreadable, ...]
    tellers: tuple[Teller, ...]
    is_run: Callable[[str], bool]

    @property
    def path(self) -> str:
        return self.watch.path


def nearest(path: str) -> str:
    """The absolute *path* itself, or its nearest ancestor that exists."""
    while True:
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            path = os.path.dirname(path)
        except OSError:  # behind a directory that may not be searched
            return path
        else:
            return path


def check(seen: Seen) -> Iterator[Check]:
    """The checks of one watch; the later ones only where the first is not failed."""
    first = _there(seen)
    yield first
    if first.state is State.FAILED:
        return
    yield _trash(seen)
    yield _events(seen)
    yield _ckptd(seen)
    yield from _runs(seen)


def _there(seen: Seen) -> Check:
    """Whether it can be read and written, or made."""
    why = _unusable(seen)
    shown = show_text(seen.path)
    if why:
        return Check("watch", seen.path, State.FAILED, why)
    here = nearest(seen.path)
    fact = "can be read" if here == seen.path else f"can be made in {show_text(here)}"
    return Check("watch", seen.path, State.OK, f"{shown} {fact}")


def _unusable(seen: Seen) -> str | None:
    """Why a training or ckptd cannot use it at all; None where they can."""
    here = nearest(seen.path)
    shown, where = show_text(seen.path), show_text(here)
    if not os.path.isdir(here):
        return f"{shown} cannot be used: {where} is no directory; name another path"
    try:
        read_only = bool(os.statvfs(here).f_flag & os.ST_RDONLY)
    except OSError as error:
        return f"{shown} cannot be seen: {where}: {error.strerror}"
    if read_only:
        return f"{shown} is on a read-only mount, so nothing can be saved there; remount it"
    if here != seen.path:
        made = f"{shown} does not exist and cannot be made: nothing may be written in {where}"
        return None if _may(here, os.W_OK | os.X_OK) else made
    return _forbidden(seen) or _unseen(seen)


def _forbidden(seen: Seen) -> str | None:
    shown = show_text(seen.path)
    if not _may(seen.path, os.R_OK | os.X_OK):
        return f"{shown} may not be read and searched by this user, so nothing there can be judged"
    if seen.watch.named and not _may(seen.path, os.W_OK):
        return f"nothing may be written in {shown} by this user, so no training can save there"
    return None


def _may(path: str, how: int) -> bool:
    return os.access(path, how, effective_ids=True)


def _unseen(seen: Seen) -> str | None:
    """What below it could not be seen: in one sentence, though there be many."""
    if not seen.unreadable:
        return None
    first, count = seen.unreadable[0], len(seen.unreadable)
    more = f" and {count - 1} more" if count > 1 else ""
    what = f"{show_text(first.path)} ({show_text(first.error)}){more}"
    return f"below {show_text(seen.path)} not all can be seen, so nothing is let go there: {what}"


# --- what ckptd needs there --------------------------------------------------------------


def _trash(seen: Seen) -> Check:
    """Whether what is let go finds a trash on its own filesystem."""
    places, refused = _places(seen)
    if refused:
        text = f"nothing can be let go there: {refused[0]}"
        return Check("trash", seen.path, State.FAILED, text)
    where = ", ".join(show_text(place) for place in dict.fromkeys(places))
    text = f"what is let go of {show_text(seen.path)} lies in a trash in {where}"
    return Check("trash", seen.path, State.OK, text)


def _places(seen: Seen) -> tuple[Sequence[str], Sequence[str]]:
    """Where the trash of each run is or would be, and why some have none."""
    found: list[str] = []
    refused: list[str] = []
    for run in (run.path for run in seen.runs):
        try:
            found.append(place.find_place(run, seen.path, seen.is_run))
        except RefusedError as error:
            refused.append(str(error))
    if seen.runs:
        return found, refused
    return _place_to_be(seen)


def _place_to_be(seen: Seen) -> tuple[Sequence[str], Sequence[str]]:
    """Without a run yet: one may land in the watch itself, or below it."""
    here = nearest(seen.path)
    below = here != seen.path or not seen.watch.named
    if below and place.can_hold(here) and not seen.is_run(here):
        return [here], []
    try:
        return [place.find_place(here, here, seen.is_run)], []
    except RefusedError as error:
        return [], [str(error)]


def _events(seen: Seen) -> Check:
    shown, asked = show_text(seen.path), seen.watch.events
    try:
        how = disk.events_arrive(seen.path)
        fstype = disk.measure(seen.path).fstype
    except UnreadableError as error:
        return Check("events", seen.path, State.FAILED, str(error))
    if how == "inotify":
        return Check("events", seen.path, State.OK, f"events of {shown} ({fstype}) arrive")
    if asked == "inotify":
        text = f"{shown} is on {fstype}, whose events may not all arrive; write events = 'auto'"
        return Check("events", seen.path, State.WARNING, text)
    text = f"{shown} is on {fstype}, whose events may not all arrive, so it is polled as well"
    return Check("events", seen.path, State.OK, text)


def _ckptd(seen: Seen) -> Check:
    """Who cares for it already, as daemons themselves tell, or by the lock of who has acted."""
    shown = show_text(seen.path)
    for teller in seen.tellers:
        for watch in teller.watches:
            if is_below(seen.path, watch) or is_below(watch, seen.path):
                who = f"a ckptd (pid {teller.pid}) watches {show_text(watch)}"
                return Check("ckptd", seen.path, State.OK, f"{who} already; {_STANDS_BY}")
    held = {above: lock.is_held(above, seen.is_run) for above in _up_from(nearest(seen.path))}
    if True in held.values():
        acted_on = next(above for above, is_held in held.items() if is_held)
        text = f"a ckptd acts on {show_text(acted_on)} already; {_STANDS_BY}"
        return Check("ckptd", seen.path, State.OK, text)
    whose = " of this user" if None in held.values() else ""
    return Check("ckptd", seen.path, State.OK, f"no ckptd{whose} is seen to watch {shown} yet")


def _up_from(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = os.path.dirname(path)
    yield path


def _runs(seen: Seen) -> Iterator[Check]:
    for drop_in in seen.frozen:
        text = f"{show_text(drop_in.path)}: {show_text(drop_in.error)}"
        yield Check("drop_in", drop_in.path, State.FAILED, text)
    untrusted = sorted({run.format for run in seen.runs if not run.trusted})
    if untrusted:
        text = (
            f"the format of some runs is known from its source only ({', '.join(untrusted)}), so "
            f"nothing is let go there; trust = {untrusted!r} in the configuration permits it"
        )
        yield Check("trust", seen.path, State.WARNING, text)
    others = [run for run in seen.runs if not run.adopted]
    if others:
        held = show_bytes(sum(c.bytes for run in others for c in run.checkpoints))
        what = f"{counted(len(others), 'run')} below {show_text(seen.path)}"
        text = f"{held} in {what} not adopted, so nothing is let go there; see ckptd adopt"
        yield Check("adopted", seen.path, State.WARNING, text)
