"""The last line of an installed file tells whether it still is what was installed. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_LINE: Final = (
    "# Written by `ckptd install`, and unchanged as long as this is its sha256: {digest}\n"
)
_MATCH: Final = re.compile(re.escape(_LINE).replace(r"\{digest\}", "([0-9a-f]{64})") + r"\Z")


def sealed(text: str) -> str:
    """*text* with the line that seals it."""
    return text + _LINE.format(digest=_digest(text))


def is_untouched(content: bytes) -> bool:
    """Whether *content* is what some `ckptd install` wrote, of whatever version."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    match = _MATCH.search(text)
    return bool(match) and _digest(text[: match.start()]) == match[1] if match else False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
