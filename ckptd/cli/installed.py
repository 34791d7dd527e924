"""`install`: the service put in place on this machine, or taken away. With --json:

    {"version": 1, "dry_run": false,
     "files": [{"path", "did": "wrote|kept|removed|failed", "why"}],
     "commands": [{"command", "error"}], "remarks": ["…"], "next": "…"}

`error` is null of a command that went well; `why` is empty where there is nothing to say, `next`
where there is nothing to do.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from ckptd import render
from ckptd.errors import ConfigError
from ckptd.install import Report, Scope
from ckptd.install import install as put
from ckptd.install import uninstall as take
from ckptd.units import show_text

DONE: Final = 0
IN_PART: Final = 4
_WOULD: Final = {"wrote": "would write", "removed": "would remove", "kept": "would keep"}


def install(arguments: argparse.Namespace) -> int:
    """`ckptd install`: 0; 4 where something could not be done or is somebody else's."""
    if arguments.config or arguments.state:
        text = "install takes neither --config nor --state: the service has its own places"
        raise ConfigError(text, hint="what else it is to do goes into systemctl edit ckptd")
    if arguments.user and arguments.parts:
        raise ConfigError("install --user takes no --with: that service may do what its user may")
    scope = Scope.of(os.geteuid(), os.environ, user=arguments.user)
    if arguments.uninstall:
        report = take(scope, dry=arguments.dry_run)
    else:
        watches = [os.path.abspath(path) for path in arguments.paths]
        report = put(scope, watches, arguments.parts, dry=arguments.dry_run)
    if arguments.json:
        print(render.dumps(_document(report)))
    else:
        _tell(report)
    return DONE if report.is_whole else IN_PART


def _tell(report: Report) -> None:
    for line in _lines(report):
        print(line)
    sys.stdout.flush()
    for sentence in report.amiss:
        for line in sentence.splitlines():
            print(f"ckptd: {line}", file=sys.stderr)
    if report.next:
        print(f"\nNow: {report.next}")


def _lines(report: Report) -> Iterator[str]:
    for done in report.files:
        did = _WOULD.get(done.did, done.did) if report.dry else done.did
        yield f"{did} {show_text(done.path)}{f' ({done.why})' if done.why else ''}"
    for command, error in report.commands:
        yield error or f"{'would run' if report.dry else 'ran'} {command}"
    yield from report.remarks


def _document(report: Report) -> dict[str, Any]:
    return {
        "version": render.VERSION,
        "dry_run": report.dry,
        "files": [
            {"path": render.plain(done.path), "did": done.did, "why": done.why}
            for done in report.files
        ],
        "commands": [
            {"command": command, "error": error or None} for command, error in report.commands
        ],
        "remarks": [*report.remarks, *report.amiss],
        "next": report.next,
    }
