"""The command that systemd is to run: that it runs, stays, and is nobody's to change.

Whoever may write one file that root's Python imports is root. So for a service of root nobody
else may write any of it: interpreter, libraries, or a directory on the way to them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Final

import ckptd
from ckptd.errors import RefusedError
from ckptd.install.writable import Writable
from ckptd.units import show_text

# What is emptied by itself, at a reboot or before.
_PASSING: Final = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108  not to write there
_ODD: Final = frozenset("\"'$%\\\\`")
_BARE: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_ASKED: Final = "import ckptd, json, sys; print(json.dumps([ckptd.__file__, *sys.path]))"
_PATIENCE: Final = 60.0
_FOR_GOOD: Final = (
    "install it where it stays and only {who} may write, for example:"
    " python3 -m venv {place} && {place}/bin/pip install ckptd && {place}/bin/ckptd install{more}"
)


def command(*, user: bool) -> tuple[str, ...]:
    """The words that start this ckptd from anywhere, for a unit.

    Raises RefusedError where it would not start, would not stay, or is others' to change.
    """
    words = _words()
    hint = _hint(user=user)
    odd = next((word for word in words if _ODD & {*word} or not word.isprintable()), None)
    if odd is not None:
        raise RefusedError(
            f"a unit cannot name {show_text(odd)} for the characters in it", hint=hint
        )
    reached = [*words[:1], *filter(os.path.isabs, words[1:]), sys.executable, *_imports(hint)]
    _refuse_passing(reached, hint)
    _refuse_others(reached, {0, os.geteuid()}, hint)
    return words


def _words() -> tuple[str, ...]:
    """The script that pip, pipx or uv has made, else the module."""
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    for scheme in schemes:
        script = os.path.join(sysconfig.get_path("scripts", scheme), "ckptd")
        if _is_ours(script):
            return (script,)
    return (sys.executable, "-P", "-m", "ckptd")


def _is_ours(script: str) -> bool:
    """Whether *script* is run by this interpreter, under whichever of its names."""
    try:
        with open(script, "rb") as file:
            first = os.fsdecode(file.readline(4096).strip())
    except OSError:
        return False
    python = first.removeprefix("#!")
    beside = os.path.dirname(python) == os.path.dirname(sys.executable)
    same = os.path.realpath(python) == os.path.realpath(sys.executable)
    return os.access(script, os.X_OK) and beside and same


def _imports(hint: str) -> list[str]:
    """Where a bare environment, as systemd gives it, finds this ckptd and all that it imports."""
    environment = _BARE | {"HOME": os.path.expanduser("~")}
    found: list[str] = [""]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        asked = [sys.executable, "-P", "-c", _ASKED]
        found = json.loads(
            subprocess.check_output(
                asked,
                env=environment,
                cwd="/",
                timeout=_PATIENCE,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    package = os.path.dirname(os.path.realpath(ckptd.__file__))
    if os.path.dirname(os.path.realpath(found[0])) != package:
        where, python = show_text(package), show_text(sys.executable)
        raise RefusedError(
            f"{python} finds the ckptd of {where} only as it is called here", hint=hint
        )
    return [package, *found[1:], *_libraries()]


def _libraries() -> Iterator[str]:
    """The interpreter's own library, where it has one apart."""
    config = sysconfig.get_config_vars()
    if config.get("Py_ENABLE_SHARED"):
        yield os.path.join(config["LIBDIR"], config["INSTSONAME"])


def _refuse_passing(paths: Iterable[str], hint: str) -> None:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for path in paths:
        for place in (*_PASSING, tempfile.gettempdir(), cache):
            if os.path.realpath(path).startswith(os.path.realpath(place) + "/"):
                text = f"{show_text(path)} does not stay: {show_text(place)} is emptied by itself"
                raise RefusedError(text, hint=hint)


def _refuse_others(paths: Iterable[str], trusted: Collection[int], hint: str) -> None:
    writable = Writable(trusted)
    for path in dict.fromkeys(paths):
        if found := writable.by_others(path):
            who = "root" if os.geteuid() == 0 else "this service"
            raise RefusedError(
                f"{show_text(found.path)} {found.why}, and {who} would run it", hint=hint
            )


def _hint(*, user: bool) -> str:
    if user:
        return _FOR_GOOD.format(who="you", place="~/.local/share/ckptd", more=" --user")
    return _FOR_GOOD.format(who="root", place="/opt/ckptd", more="")
