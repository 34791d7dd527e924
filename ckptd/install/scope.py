"""Whose service it is: where its files lie, and how its systemd is spoken to."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.config import configured_file
from ckptd.errors import ActionError, CkptdError, RefusedError
from ckptd.units import show_text

UNIT: Final = "ckptd.service"
_BOOTED: Final = "/run/systemd/system"  # sd_booted(3)
_LINGERING: Final = "/var/lib/systemd/linger"  # a file for each user who does; loginctl(1)
_FOREGROUND: Final = (
    "ckptd watch in the foreground, or ckptd exec around a training, do the same without it"
)
_PATIENCE: Final = 60.0  # seconds: a manager that reads all units again takes its time


@dataclass(frozen=True, slots=True)
class Scope:
    """A service of the system, or (`user`) of whoever calls. `catalogs` is where it may explain
    its journal entries; empty where nobody but root may.
    """

    user: bool
    units: str
    configuration: str
    catalogs: str

    @classmethod
    def of(cls, uid: int, environ: Mapping[str, str], *, user: bool) -> Scope:
        """The one for the user *uid*. Raises RefusedError where that is not theirs to install."""
        configuration = configured_file(uid, environ)
        if not user:
            if uid != 0:
                hint = "as root; or for your own runs: ckptd install --user"
                raise RefusedError("a service of the system is root's to install", hint=hint)
            return cls(user, "/etc/systemd/system", configuration, "/usr/local/lib/systemd/catalog")
        if uid == 0:
            hint = "without --user; or without sudo, as the user whose service it is to be"
            raise RefusedError("what root runs is a service of the system", hint=hint)
        above = _home_of(uid, environ)
        return cls(user, os.path.join(above, "systemd", "user"), configuration, "")

    @property
    def systemctl(self) -> tuple[str, ...]:
        """The command that speaks to its systemd."""
        return ("systemctl", "--user") if self.user else ("systemctl",)

    @property
    def packaged(self) -> str:
        """The packaged directory with units for it, below that of all units."""
        return "user" if self.user else ""

    def version(self) -> int:
        """The version of the systemd that runs here. Raises CkptdError where none does."""
        if not os.path.isdir(_BOOTED) or shutil.which("systemctl") is None:
            raise CkptdError(
                "no systemd runs here, so there is no service to install into", hint=_FOREGROUND
            )
        words = run(["systemctl", "--version"]).split()
        number = words[1].split(".")[0].split("~")[0] if len(words) > 1 else ""
        if not number.isdecimal():
            raise ActionError("systemctl --version does not say which systemd this is")
        return int(number)

    def remarks(self) -> list[str]:
        """What a person should know of such a service."""
        if not self.user:
            return []
        said = ["No catalog: only root can add to what `journalctl -x` explains."]
        if not os.path.exists(os.path.join(_LINGERING, _name(os.getuid()))):
            said.append("It ends with your last session, unless you say: loginctl enable-linger")
        return said

    def is_active(self, unit: str) -> bool:
        """Whether *unit* runs now."""
        try:
            run([*self.systemctl, "is-active", unit])
        except ActionError:
            return False
        return True


def run(command: Sequence[str]) -> str:
    """What *command* prints. Raises ActionError with its last words where it fails."""
    try:
        ended = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ActionError(f"{show_text(' '.join(command))} failed: {error}") from error
    if ended.returncode != 0:
        said = show_text((ended.stderr.strip().splitlines() or ["it says nothing"])[-1])
        raise ActionError(f"{show_text(' '.join(command))} failed: {said}")
    return ended.stdout


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _home_of(uid: int, environ: Mapping[str, str]) -> str:
    """Where the user's own configuration lies. Raises RefusedError where it is somebody else's."""
    place = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    nearest = place
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    if os.stat(nearest).st_uid != uid:
        path = show_text(nearest)
        hint = "log in as the user whose service it is to be"
        raise RefusedError(f"{path} belongs to somebody else than who calls", hint=hint)
    return place
