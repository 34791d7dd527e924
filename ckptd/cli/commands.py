"""What each command takes, said so that its `--help` teaches. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from ckptd.config.options import OPTIONS

Run = Callable[[argparse.Namespace], int]

PARTS: Final = ("network", "quotas")
"""What `install --with` may name: systemd/with/*.conf."""


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
    more = """\
All reasons for one checkpoint, also for one that has been let go. Where a ckptd is running that
looks after it, they are the ones of that ckptd; with options or --config, what these would mean.
"""
    parser = _command(
        commands, "why", "the verdict on one checkpoint", more=more, room="why", policy=True
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


def _status(commands: Any) -> None:
    more = """\
Runs, disks, what is not adopted, and the last acts, as the running ckptd sees them; where none
runs, as this command sees them itself. Users see their own runs, root sees all.
"""
    parser = _command(commands, "status", "what a running ckptd sees", more=more, room="status")
    _paths(parser, "only the runs at or below PATH")
    parser.add_argument("--follow", action="store_true", help="show it anew whenever it changes")


def _history(commands: Any) -> None:
    more = """\
Every act, refusal and alarm: the records that the journal has too (journalctl -t ckptd).

ckptd history --since 2h --event evict /data/my-run
"""
    parser = _command(commands, "history", "what was done, when and why", more=more, room="history")
    _paths(parser, "only checkpoints and runs at or below PATH")
    parser.add_argument(
        "--since", metavar="T", help="a span back from now (2h, 7d) or a moment (2026-01-02, 14:30)"
    )
    parser.add_argument(
        "--event", action="append", metavar="EVENT", help="only these, as in evict; repeatable"
    )
    parser.add_argument("--limit", metavar="COUNT", help="only the newest COUNT")


def _check(commands: Any) -> None:
    more = """\
For the head of a training script, in place of a line with df:

ckptd check --max-used 80% --need 20GiB /data/my-run || exit 1

Looks at the configuration, the watches, the system's limits and the disks; touches nothing.
Exit status 5: a disk is too full; 4: something cannot be read, written or cared for.
"""
    parser = _command(commands, "check", "is all well for a start", more=more, room="check")
    _paths(parser, "where the training will write; default: the configured watches")
    parser.add_argument(
        "--max-used",
        metavar="SHARE",
        help="used at most so much, as in 80%% (default: the high mark)",
    )
    parser.add_argument("--need", metavar="SIZE", help="at least so much free, as in 20GiB")


def _advise(commands: Any) -> None:
    more = """\
Measures the size and the rhythm of the saves that are there, says when the disk will be full,
and which save_steps, save_total_limit and policy fit, with the arithmetic.
"""
    parser = _command(commands, "advise", "settings that fit the disk", more=more, room="advise")
    _paths(parser, "a run, or a directory with runs; default: the configured watches")


def _simulate(commands: Any) -> None:
    more = """\
ckptd simulate --save-size 14GiB --every 20min --disk 2TiB --hours 72 --keep-last 3
ckptd simulate --hours 72 --keep-within 6h /data/my-run

Plays the policy on a training that is thought up, or on what lies at PATH and goes on as it did:
the use of the disk as a picture, beside no policy and beside save_total_limit, when each would
find the disk full, and what going back would cost. Touches nothing.
"""
    about = "a policy played ahead of time"
    parser = _command(commands, "simulate", about, more=more, room="simulate", policy=True)
    _paths(parser, "a run, or a directory with runs; default: the configured watches")
    told = parser.add_argument_group("a training that is thought up")
    told.add_argument("--save-size", metavar="SIZE", help="of each save, as in 14GiB")
    told.add_argument("--every", metavar="DURATION", help="between two saves, as in 20min")
    told.add_argument("--disk", metavar="SIZE", help="what users may write there, as in 2TiB")
    told.add_argument("--used", metavar="MARK", help="of it from the start, as in 30%% or 1TiB")
    told.add_argument("--runs", metavar="COUNT", help="so many of them at once (default: 1)")
    parser.add_argument("--hours", metavar="NUMBER", default="72", help="how long (default: 72)")
    parser.add_argument(
        "--save-total-limit",
        metavar="COUNT",
        help="the trainer's own limit beside it (default: keep_last if it is a number, else 3)",
    )
    parser.add_argument("--world", metavar="FILE", help="what --record wrote, in place of PATH")
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="write what lies at PATH to a new FILE: names, sizes and times, nothing of the bytes",
    )


def _config(commands: Any) -> None:
    more = """\
Every effective value, with the file and line it comes from, as a TOML file that means the same.
With PATH: what holds for the runs there, with the .ckptd.toml files at and above it.
"""
    about = "what is configured, and where"
    parser = _command(commands, "config", about, more=more, room="config", policy=True)
    _paths(parser, "a run, or a directory with runs; at most one")
    parser.add_argument("--schema", action="store_true", help="the JSON schema of ckptd.toml")


def _completion(commands: Any) -> None:
    more = """\
eval "$(ckptd completion bash)"                                  in ~/.bashrc
eval "$(ckptd completion zsh)"                                   in ~/.zshrc, after compinit
ckptd completion fish > ~/.config/fish/completions/ckptd.fish    once
"""
    parser = _command(commands, "completion", "complete with TAB", more=more, room="completion")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def _install(commands: Any) -> None:
    more = """\
ckptd install /data && systemctl enable --now ckptd

Puts units for systemd, an example configuration and a catalog for the journal in place, and says
what it does with each file. What somebody has changed stays as it is, also with --uninstall. No
user is made (ckptd acts in the rights of each run's owner), and no tmpfiles entry (systemd makes
its directories).
"""
    parser = _command(
        commands, "install", "put ckptd in place as a service", more=more, room="installed"
    )
    _paths(parser, "directory to watch, for a configuration that is not there yet")
    parser.add_argument("--user", action="store_true", help="as your own service; without root")
    parser.add_argument(
        "--with",
        dest="parts",
        action="append",
        default=[],
        choices=PARTS,
        help="leave it this as well: the network, for what ckptd sends out; CAP_SYS_ADMIN, for"
        " the quotas of users; repeatable",
    )
    parser.add_argument("--dry-run", action="store_true", help="say it, and touch nothing")
    parser.add_argument("--uninstall", action="store_true", help="take all of it away again")


COMMANDS: Final[tuple[Callable[[Any], None], ...]] = (
    *(_watch, _exec, _plan, _apply, _why, _restore, _pin, _unpin, _adopt),
    *(_status, _history, _check, _advise, _simulate, _config, _install, _completion, _demo),
)
"""In the order of `ckptd --help`."""
