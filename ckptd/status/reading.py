"""What the running daemons show to whoever asks. Nothing here raises for what others wrote."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from ckptd import places, render
from ckptd.render import Report
from ckptd.status import files
from ckptd.units import show_text


@dataclass(frozen=True, slots=True)
class Reports:
    """What was found: a report per daemon that lives, each trouble as one sentence.

    `others` are pids of daemons that have nothing to show to this user.
    """

    reports: tuple[Report, ...] = ()
    troubles: tuple[str, ...] = ()
    others: tuple[int, ...] = ()


def read(state: str | None) -> Reports:
    """The reports of all daemons that show this user something; *state* is what `--state` says.

    Root sees everything that everybody's daemons see, others what concerns their own runs.
    """
    found: list[Report | _Trouble | _Other] = []
    for place in places.places_to_read(state):
        with suppress(OSError):
            found += _in_place(place)
    return Reports(
        tuple(each for each in found if isinstance(each, Report)),
        tuple(each.text for each in found if isinstance(each, _Trouble)),
        tuple(each.pid for each in found if isinstance(each, _Other)),
    )


def stamp(state: str | None) -> object:
    """A value that is another one when `read` may have changed its answer. Cheap."""
    seen = []
    for place in places.places_to_read(state):
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                at = entry.stat(follow_symlinks=False)
                seen.append((entry.path, at.st_ino, at.st_mtime_ns))
    return sorted(seen)


@dataclass(frozen=True, slots=True)
class _Trouble:
    text: str


@dataclass(frozen=True, slots=True)
class _Other:
    pid: int


def _in_place(place: str) -> list[Report | _Trouble | _Other]:
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # Its owner's files show everything that each daemon here sees; those of users a part.
        owner = os.fstat(directory).st_uid
        mine = owner if os.geteuid() == 0 else os.geteuid()
        names = [match for name in os.listdir(directory) if (match := files.NAME.fullmatch(name))]
        pids = {int(match["pid"]) for match in names if int(match["uid"]) == mine}
        found = [_report(place, directory, files.name_of(mine, pid)) for pid in sorted(pids)]
        others = {int(match["pid"]) for match in names if int(match["uid"]) == owner} - pids
        return [
            *(each for each in found if each is not None),
            *(_Other(pid) for pid in sorted(others) if _fresh(directory, owner, pid)),
        ]
    finally:
        os.close(directory)


def _report(place: str, directory: int, name: str) -> Report | _Trouble | None:
    """None for one whose daemon is dead, or which has gone meanwhile."""
    try:
        document = files.load(directory, name)
        if not files.lives(document, files.age(directory, name)):
            return None
        return render.report_of(document)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        return _Trouble(f"{show_text(os.path.join(place, name))} is passed over: {said}")


def _fresh(directory: int, uid: int, pid: int) -> bool:
    with suppress(OSError):
        return files.age(directory, files.name_of(uid, pid)) < files.FRESH
    return False
