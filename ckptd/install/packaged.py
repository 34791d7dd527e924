"""The units and catalogs that ckptd brings, and what has to be different in them here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Final

import ckptd
from ckptd.errors import ActionError
from ckptd.units import show_text

# In the package once it is built, beside it in a checkout.
_HERE: Final = os.path.dirname(os.path.abspath(ckptd.__file__))
_PLACES: Final = (os.path.join(_HERE, "systemd"), os.path.join(os.path.dirname(_HERE), "systemd"))
_COMMAND: Final = "/usr/local/bin/ckptd"  # as the units have it
# systemd.service(5): what came later than Debian 12 and RHEL 9, and what stands for it before. It
# would only warn, but at every look at the unit.
_LATER: Final = {
    254: (("RestartSteps", ""), ("RestartMaxDelaySec", ""), ("RestartSec", "RestartSec=30s\n")),
}
_SETTING: Final = re.compile(r"^(\w+)=.*\n", re.MULTILINE)
_PLAIN: Final = re.compile(r"[\w@+,./:=-]+", re.ASCII)


def packaged(below: str, *suffixes: str) -> Iterator[tuple[str, str]]:
    """Name and text of each packaged file directly *below*, with one of *suffixes*, by name."""
    top = next(filter(os.path.isdir, _PLACES), None)
    if top is None:
        raise ActionError(
            "this ckptd lacks its units, so it cannot be installed as a service",
            hint=f"they belong into {show_text(_PLACES[0])}: install the package again",
        )
    place = os.path.join(top, below)
    for name in sorted(os.listdir(place)):
        if name.endswith(suffixes):
            with open(os.path.join(place, name), encoding="utf-8") as file:
                yield name, file.read()


def fitted(unit: str, command: Sequence[str], version: int) -> str:
    """The text of a *unit* that runs *command*, for a systemd of this *version*."""
    text = unit.replace(_COMMAND, " ".join(map(_word, command)))
    instead = {
        key: line for since, lines in _LATER.items() if version < since for key, line in lines
    }
    return _SETTING.sub(lambda match: instead.get(match[1], match[0]), text)


def _word(text: str) -> str:
    """One word of a command in a unit; `program` refuses what would need more than quotes."""
    return text if _PLAIN.fullmatch(text) else f'"{text}"'
