"""The command line: what there is, said so that `--help` teaches. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

from ckptd import __version__
from ckptd.config.options import OPTIONS

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

Run = Callable[[argparse.Namespace], int]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; `run` in it is the command to call. Exits with 2 on misuse."""
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
    for add in (_watch, _exec, _plan, _apply, _why, _restore, _pin, _unpin, _adopt, _demo):
        add(commands)
    return parser


def _command(
    commands: Any, name: str, about: str, *, more: str, room: str, policy: bool = False
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.\n\n{more}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=_late(room, name), name=name)
    parser.add_argument("--config", metavar="FILE", help="TOML file; see config.example.toml")
    parser.add_argument("--state", metavar="DIR", help="where the ledger lies")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    if policy:
        _policy_options(parser)
    return parser


def _late(room: str, name: str) -> Run:
    """The function *name* of a module that is imported only when it is called."""

    def run(arguments: argparse.Namespace) -> int:
        command: Run = getattr(import_module(f"ckptd.cli.{room}"), name)
        return command(arguments)

    return run


def _policy_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("policy (over the configuration file)")
    for option in OPTIONS:
        group.add_argument(
            f"--{option.name}",
            dest=f"option:{option.key}",
            metavar=option.metavar,
            help=option.help.replace("%", "%%"),
            action="append" if option.repeatable else "store",
        )


def _paths(parser: argparse.ArgumentParser, help_text: str, *, many: str = "*") -> None:
    parser.add_argument("paths", nargs=many, metavar="PATH", help=help_text)


def _watch(commands: Any) -> None:
    more = """\
Looks at every run below each PATH whenever something is saved there, keeps what the policy
keeps, and moves the rest to the trash. Runs until SIGTERM. Without PATH: the watches of the
configuration.
"""
    parser = _command(
        commands, "watch", "watch until stopped", more=more, room="watching", policy=True
    )
    _paths(parser, "directory to watch; it need not exist yet")


def _exec(commands: Any) -> None:
    more = """\
ckptd exec --keep-last 2 -- python train.py --output_dir out

PATH may be left out when COMMAND names its output directory (--output_dir, --save_dir ... or
a YAML or JSON file that says so). A broken save that a crash left behind is set aside before
COMMAND starts, so that resuming from the newest checkpoint works. Signals go on to COMMAND.
"""
    parser = _command(
        commands, "exec", "watch while COMMAND runs", more=more, room="execing", policy=True
    )
    parser.usage = "ckptd exec [options] [PATH ...] -- COMMAND ..."
    _paths(parser, "output directory, when COMMAND does not name it")


def _plan(commands: Any) -> None:
    more = "Every checkpoint with its verdict and the reasons. Nothing is touched or written.\n"
    parser = _command(
        commands, "plan", "what apply would do, and why", more=more, room="once", policy=True
    )
    _paths(parser, "directory with runs, a run, or a checkpoint (which means its run)")


def _apply(commands: Any) -> None:
    more = "What plan says, once: for cron, or before a training starts.\n"
    parser = _command(commands, "apply", "do it once", more=more, room="once", policy=True)
    _paths(parser, "directory with runs, a run, or a checkpoint (which means its run)")


def _why(commands: Any) -> None:
    more = "All reasons for one checkpoint, also for one that has been let go.\n"
    parser = _command(
        commands, "why", "the verdict on one checkpoint", more=more, room="once", policy=True
    )
    _paths(parser, "the checkpoint", many="+")


def _restore(commands: Any) -> None:
    more = """\
Puts a checkpoint back exactly as it was, and pins it. PATH is where it lay, ID what apply,
watch and why print. If the name is taken again nothing is done (exit status 3): use --to.
"""
    parser = _command(commands, "restore", "take out of the trash", more=more, room="undo")
    _paths(parser, "where it lay, or its id", many="+")
    parser.add_argument("--to", metavar="DIR", help="restore into this directory instead")


def _pin(commands: Any) -> None:
    more = "Marks checkpoints so that no policy lets go of them (an extended attribute).\n"
    parser = _command(commands, "pin", "never let go of PATH", more=more, room="marks")
    _paths(parser, "the checkpoint", many="+")


def _unpin(commands: Any) -> None:
    parser = _command(commands, "unpin", "undo pin", more="Takes the mark away.\n", room="marks")
    _paths(parser, "the checkpoint", many="+")


def _adopt(commands: Any) -> None:
    more = """\
A watch takes under its care only runs that are born under it. This puts the runs at or below
PATH, which were there before, under care as well.
"""
    parser = _command(commands, "adopt", "put old runs under care", more=more, room="marks")
    _paths(parser, "a run, or a directory with runs", many="+")


def _demo(commands: Any) -> None:
    more = "Less than a minute, in a temporary directory that is removed at the end.\n"
    about = "a small training and its ckptd side by side"
    _command(commands, "demo", about, more=more, room="demonstration")
