"""Who is configured to be told, and what stands in the way of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

from ckptd.config import Notify, Settings
from ckptd.config.values import WrongError, urls, without_secrets
from ckptd.errors import CkptdError, ConfigError, Problem
from ckptd.notify import sending
from ckptd.units import show_text

LARGEST: Final = 2**16
NO_APPRISE: Final = Problem(
    "[notify]", "apprise is not installed, so nobody can be told", sending.REMEDY
)


def receivers(notify: Notify) -> tuple[dict[str, sending.Send], tuple[Problem, ...]]:
    """What sends to each one that can be told, by its name in the log, and what is wrong."""
    if not notify.urls and notify.urls_file is None:
        return {}, ()
    if not sending.is_there():
        return {}, (NO_APPRISE,)
    found: dict[str, sending.Send] = {}
    problems: list[Problem] = []
    for name, url in _named(notify, problems):
        try:
            found[name] = sending.receiver(url)
        except CkptdError as error:
            problems.append(Problem(name, error.message, error.hint))
    return found, tuple(problems)


def faults(notify: Notify) -> tuple[Problem, ...]:
    """What keeps [notify] from telling whom it names. Nothing is sent."""
    return receivers(notify)[1]


def exposed(settings: Settings) -> Iterator[Problem]:
    """Files with secrets of [notify] that other users may read."""
    said = settings.written.values.get(("notify", "urls"))
    files = [said.origin.source] if said and settings.notify.urls else []
    if settings.notify.urls_file is not None:
        files.append(settings.notify.urls_file)
    for path in files:
        if _others_may_read(path):
            text = "every user of this machine may read it, and it holds the secrets of [notify]"
            yield Problem(show_text(path), text, f"chmod o= {show_text(path)}")


def _others_may_read(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:  # who cannot be seen is told of where it is read
        return False


def _named(notify: Notify, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Each URL, by a name that shows no secret; adds to *problems* what cannot be read."""
    for at, url in enumerate(notify.urls, start=1):
        yield f"notify.urls, number {at} ({without_secrets([url])[0]})", url
    if notify.urls_file is None:
        return
    path = show_text(notify.urls_file)
    try:
        further = _of_file(notify.urls_file)
    except ConfigError as error:
        problems.extend(error.problems)
        return
    for at, url in enumerate(further, start=1):
        yield f"{path}, number {at} ({without_secrets([url])[0]})", url


def _of_file(path: str) -> tuple[str, ...]:
    """The URLs in the file at *path*. Raises ConfigError."""
    try:
        lines = [line.strip() for line in _text(path).splitlines()]
        return urls([line for line in lines if line and not line.startswith("#")])
    except WrongError as error:
        raise ConfigError((Problem(show_text(path), error.text, error.remedy),)) from error
    except OSError as error:
        text = f"the URLs of [notify] cannot be read there: {error.strerror}"
        raise ConfigError((Problem(show_text(path), text),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((Problem(show_text(path), "it is no UTF-8 text"),)) from error


def _text(path: str) -> str:
    # Without O_NONBLOCK a FIFO in the file's place would hang the start.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise WrongError("it is not a regular file")
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise WrongError("it is larger than 64 KiB, which no list of URLs is")
    return raw.decode("utf-8")
