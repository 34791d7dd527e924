"""The door to apprise: one URL that takes messages."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final

from ckptd.errors import CkptdError
from ckptd.units import show_text

if TYPE_CHECKING:
    from apprise import Apprise

Send = Callable[[str, str], str | None]
"""Sends a title and a text; None, or why it was not taken."""

REMEDY: Final = "pip install 'ckptd[notify]'"
# A part of a URL that is at least so long may be a secret, and is shown to nobody.
_SECRET: Final = 4


def is_there() -> bool:
    """Whether apprise is installed."""
    from importlib.util import find_spec

    return find_spec("apprise") is not None


def receiver(url: str) -> Send:
    """What sends to *url*. Raises CkptdError where nothing can."""
    try:
        return _receiver(url)
    except CkptdError:
        raise
    except Exception as error:
        text = f"apprise fails at it: {type(error).__name__}: {error}"
        raise CkptdError(without(url, text)) from error


def _receiver(url: str) -> Send:
    from apprise import Apprise, AppriseAsset

    complaints = _complaints()
    # The interpreter's end waits for threads of a pool, such as apprise has where there is a
    # deadline; ours is a daemon. A text with the names of files in it is no template.
    asset = AppriseAsset(
        app_id="ckptd",
        app_desc="ckptd",
        async_mode=False,
        service_timeout=0,
        allow_templates=False,
        secure_logging=True,
    )
    server = Apprise(asset=asset)
    with complaints.ours():
        if not server.add(url):
            raise CkptdError(
                "apprise knows no such service, or the URL lacks something",
                hint="write it as apprise's documentation has it for that service",
            )
    return lambda title, text: _send(server, url, title, text)


def _send(server: Apprise, url: str, title: str, text: str) -> str | None:
    from apprise import NotifyFormat

    complaints = _complaints()
    with complaints.ours():
        try:
            # As plain text: apprise escapes what would be markup for the service.
            if server.notify(title=title, body=text, body_format=NotifyFormat.TEXT):
                return None
            why = complaints.last
        except Exception as error:  # noqa: BLE001  a hundred services, whatever they stumble over
            why = f"{type(error).__name__}: {error}"
    return without(url, why) or "it does not say why"


def without(url: str, text: str) -> str:
    """*text* on one line, without what *url* may hold of secrets."""
    _, _, rest = url.partition("://")
    for part in {rest, *re.split(r"[/:@?&=#]", rest)}:
        if len(part) >= _SECRET:
            text = text.replace(part, "***")
    return show_text(" ".join(text.split()))


class _Complaints(logging.Handler):
    """What apprise says while it does something for the thread that asks: `last` of it.

    Each try would else be a line of the journal, and nobody knows what is in it.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._of = threading.local()

    @property
    def last(self) -> str:
        return str(getattr(self._of, "text", ""))

    def ours(self) -> _Complaints:
        return self

    def __enter__(self) -> None:
        self._of.text = ""

    def __exit__(self, *_: object) -> None:
        pass

    def emit(self, record: logging.LogRecord) -> None:
        self._of.text = record.getMessage()


@cache
def _complaints() -> _Complaints:
    handler = _Complaints()
    apprise = logging.getLogger("apprise")
    apprise.addHandler(handler)
    apprise.propagate = False
    return handler
