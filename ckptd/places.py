"""Where ckptd's own files lie on this machine. Imports nothing: readers start fast."""

from __future__ import annotations

import glob
import os
import re
from typing import Final

RUN: Final = "/run/ckptd"
_OF_USERS: Final = "/run/user/*/ckptd"


def state_directory(chosen: str | None) -> str:
    """Where the ledger lies: `--state`, systemd's, root's, or the user's own."""
    if chosen:
        return os.path.abspath(chosen)
    if given := os.environ.get("STATE_DIRECTORY"):
        return given.split(":")[0]
    if os.geteuid() == 0:
        return "/var/lib/ckptd"
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "ckptd")


def of_this_machine(state: str) -> str:
    """The part of a state directory on a network filesystem that is this machine's alone.

    By its host name, which is one machine's in a network and stays so when it boots anew.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", os.uname().nodename).lstrip(".")
    return os.path.join(state, f"host-{name or 'unnamed'}")


def report_places(chosen: str | None) -> tuple[str, ...]:
    """Directories in which a daemon leaves what it sees, the best first; *chosen* as above."""
    last = os.path.join(state_directory(chosen), "status")
    if chosen:
        return (last,)
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return tuple(place for place in (given or _runtime_directory(), last) if place)


def places_to_read(chosen: str | None) -> tuple[str, ...]:
    """Directories in which a reader finds what daemons left; root looks at users' own as well."""
    if chosen:
        return report_places(chosen)
    users = sorted(glob.glob(_OF_USERS)) if os.geteuid() == 0 else []
    return tuple(dict.fromkeys((RUN, *report_places(None), *users)))


def _runtime_directory() -> str:
    if os.geteuid() == 0:
        return RUN
    of_user = os.environ.get("XDG_RUNTIME_DIR", "")
    return os.path.join(of_user, "ckptd") if os.path.isabs(of_user) else ""
