"""`pin`, `unpin` and `adopt`: what a person says about a checkpoint or a run."""

from __future__ import annotations

import argparse
import errno
import os
import time
from collections.abc import Callable
from functools import partial

from ckptd import beneath, render, scan
from ckptd.cli import ledgers
from ckptd.cli.once import must_exist, named_checkpoint
from ckptd.cli.progress import Progress, progress
from ckptd.cli.start import complain, real_run_of, run_of
from ckptd.errors import ActionError, CkptdError, LedgerError, RefusedError
from ckptd.ledger import Record
from ckptd.mounts import asked, step
from ckptd.units import show_text


def pin(arguments: argparse.Namespace) -> int:
    """`ckptd pin PATH...`: 0, or the status of what refused."""
    return _mark(arguments, "pin", beneath.pin)


def unpin(arguments: argparse.Namespace) -> int:
    """`ckptd unpin PATH...`: 0, or the status of what refused."""
    return _mark(arguments, "unpin", beneath.unpin)


def adopt(arguments: argparse.Namespace) -> int:
    """`ckptd adopt PATH...`: 0, or 1 when no run lies at or below PATH."""
    must_exist(arguments.paths)
    adopted = []
    with ledgers.opened(arguments.state) as ledger, progress() as shown:
        for path in arguments.paths:
            survey = _survey(real_run_of(path), shown)
            if not survey.runs:
                raise CkptdError(f"no run lies at or below {show_text(path)}, so none is adopted")
            for run in survey.runs:
                ledger.adopt(run.path, run.inode, reason="named by ckptd adopt")
                adopted.append(run.path)
    _print(arguments, "adopted", adopted)
    return 0


def _survey(top: str, shown: Progress) -> scan.Survey:
    """The runs at or below *top*. UnansweredError."""

    def beat() -> None:
        shown.step("looking")

    return asked(top, lambda: scan.find_runs(top, beat=lambda: step(beat)), beat, roams=True)


def _mark(arguments: argparse.Namespace, word: str, act: Callable[[int], None]) -> int:
    paths = [named_checkpoint(path) for path in arguments.paths]
    for path in paths:
        asked(path, partial(_marked, path, act))
    _remember(arguments, word, paths)
    _print(arguments, f"{word}ned", paths)
    return 0


def _marked(path: str, act: Callable[[int], None]) -> None:
    fd = _open_checkpoint(path)
    try:
        act(fd)
    except OSError as error:
        raise _explained(path, error) from error
    finally:
        os.close(fd)


def _remember(arguments: argparse.Namespace, word: str, paths: list[str]) -> None:
    """For the history. A mark holds by itself: without a ledger it is there all the same."""
    try:
        with ledgers.opened(arguments.state) as ledger:
            for path in paths:
                run = os.path.dirname(path)
                reason = f"asked for by ckptd {word}"
                ledger.note(
                    Record(event=word, at=time.time(), checkpoint=path, run=run, reason=reason)
                )
    except LedgerError as error:
        complain(error)


def _open_checkpoint(path: str) -> int:
    """A descriptor of the checkpoint directory at *path*; RefusedError when it is none."""
    if run_of(path) == path:
        raise RefusedError(f"{show_text(path)} is no checkpoint, so it cannot be pinned")
    run_fd = beneath.open_directory(os.path.dirname(path))
    try:
        return beneath.open_beneath(run_fd, os.path.basename(path))
    finally:
        os.close(run_fd)


def _explained(path: str, error: OSError) -> CkptdError:
    if error.errno == errno.EOPNOTSUPP:
        name = show_text(os.path.basename(path))
        return ActionError(
            f"the filesystem of {show_text(path)} keeps no extended attributes, so no pin holds",
            hint=f'write pin = ["{name}"] under [policy] in the configuration',
        )
    return RefusedError(f"{show_text(path)} cannot be marked: {(error.strerror or '').lower()}")


def _print(arguments: argparse.Namespace, word: str, paths: list[str]) -> None:
    if arguments.json:
        print(render.dumps(render.paths_json(word, paths)))
        return
    for path in paths:
        print(f"{word} {show_text(path)}")
