"""ckptd in an environment of its own in the box, as `pip install` leaves it, without a network."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

from box import REPOSITORY, Box

import ckptd

PLACE = "/opt/ckptd"
PROGRAM = f"{PLACE}/bin/ckptd"
_SCRIPT = f"""\
#!{PLACE}/bin/python
import sys
from ckptd.cli import main
sys.exit(main())
"""
_PACKAGE = Path(ckptd.__file__).parent


class Program:
    """The `ckptd` that is installed in the box; it knows nothing of the one under test outside."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def __call__(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`ckptd WORDS`, to its end."""
        return self._box.run("env", "--unset=PYTHONPATH", PROGRAM, *words, check=check)

    def document(self, *words: object) -> Any:
        """The document that `ckptd WORDS --json` prints."""
        return json.loads(self(*words, "--json").stdout)


def installed_in(box: Box) -> Program:
    """Installs it."""
    box.run(sys.executable, "-m", "venv", "--without-pip", PLACE)
    site = next(seen(box, PLACE).glob("lib/python*/site-packages"))
    for needed in _needed("ckptd", set()):
        _copy(needed, site)
    shutil.copytree(_PACKAGE, site / "ckptd", ignore=shutil.ignore_patterns("__pycache__"))
    # Into the package they come when it is built.
    shutil.copytree(REPOSITORY / "systemd", site / "ckptd" / "systemd", dirs_exist_ok=True)
    for above in Path(sys.base_prefix).parents:  # some Pythons lie in a home, where none look in
        there = seen(box, str(above))
        there.chmod(stat.S_IMODE(there.stat().st_mode) | 0o011)
    script = seen(box, PROGRAM)
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    return Program(box)


def seen(box: Box, path: str) -> Path:
    """Where the absolute *path* of the box lies as seen from here."""
    return box.root / path.lstrip("/")


def _needed(name: str, met: set[str]) -> Iterator[Distribution]:
    """What *name* needs to run, and what that needs."""
    for line in distribution(name).requires or ():
        needed = re.match(r"[\w.-]+", line)
        if needed and "extra ==" not in line and needed[0].lower() not in met:
            met.add(needed[0].lower())
            try:
                found = distribution(needed[0])
            except ModuleNotFoundError:  # for another Python or another system
                continue
            yield found
            yield from _needed(needed[0], met)


def _copy(package: Distribution, site: Path) -> None:
    for file in package.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), site / file)
