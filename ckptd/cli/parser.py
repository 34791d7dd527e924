"""The command line: what there is, said so that `--help` teaches. Imports nothing heavy."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Final

from ckptd import __version__
from ckptd.cli.commands import COMMANDS

STATUS: Final = """\
exit status:
  0 done                         3 refused: name taken, lock held, not the owner
  1 failed                       4 done in part: something refused or unreadable
  2 usage or configuration       5 short of space
  exec ends with COMMAND's own status; 125 is a failure of ckptd itself
"""

ABOUT: Final = """\
ckptd keeps checkpoints from filling the disk while models are trained.

  ckptd exec --keep-last 2 -- python train.py --output_dir out
      runs a training and lets go of checkpoints that nobody needs, as they appear
  ckptd plan --keep-last 2 out
      says what would be let go of, and why; touches nothing

What is let go lies in a trash for an hour (--trash-for) and can be restored until then.
Never let go: the newest complete checkpoint, the highest step, the trainer's best, what is
pinned, open or being written, and whatever is not positively recognised.
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; `run` in it is the command to call. Exits with 2 on misuse.

    Where a shell asks for completions it is told of them instead, and the process ends.
    """
    if "_ARGCOMPLETE" in os.environ and "COMP_LINE" in os.environ:  # TAB was pressed
        from ckptd.cli.completion import answer

        answer(_parser())
    own, command = _split(argv)
    arguments = _parser().parse_args(own)
    arguments.command = command
    return arguments


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """What is ours, and COMMAND after the first `--` (argparse would eat later ones)."""
    if "--" not in argv:
        return list(argv), None
    at = list(argv).index("--")
    return list(argv[:at]), list(argv[at + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ckptd",
        description=ABOUT,
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ckptd {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for declare in COMMANDS:
        declare(commands)
    return parser
