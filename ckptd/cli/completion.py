"""TAB in bash, zsh and fish. The door to argcomplete, imported only where a shell asks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

import argcomplete
from argcomplete.shell_integration import shellcode

from ckptd import audit, render
from ckptd.config.options import OPTIONS

Completer = Callable[..., Iterable[str]]

OURS: Final = "ckptd"
_SCHEMAS: Final = {f"option:{option.key}": option.kind.schema for option in OPTIONS}


def completion(arguments: argparse.Namespace) -> int:
    """`ckptd completion SHELL`: 0; the code for that shell on standard output."""
    # One code for bash and zsh, which argcomplete 3.1 knows by the first name only.
    code = shellcode([OURS], shell="fish" if arguments.shell == "fish" else "bash")
    document = {"version": render.VERSION, "shell": arguments.shell, "code": code}
    print(render.dumps(document) if arguments.json else code)
    return 0


def answer(parser: argparse.ArgumentParser) -> None:
    """Tells the shell that asks through the environment what may stand next, and ends.

    After `--` that is a COMMAND of somebody else: files, and none of our options.
    """
    before = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = f"{before}.".split()[:-1]  # the last is the one that is being typed, if only begun
    asked = _command_of_others() if "--" in words else parser
    _complete(asked)
    argcomplete.autocomplete(asked, always_complete_options=False)


def _command_of_others() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prefix_chars="\0", add_help=False)
    parser.add_argument("words", nargs="*", metavar="FILE")
    return parser


def _complete(parser: argparse.ArgumentParser) -> None:
    """Says of each value of *parser* and its commands how it is completed."""
    for action in parser._actions:  # noqa: SLF001  argparse tells of its arguments in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                _complete(command)
        elif action.choices is None:
            action.completer = _completer(action)  # type: ignore[attr-defined]


def _completer(action: argparse.Action) -> Completer:
    """By what the help calls the value; numbers and sizes are nobody's to guess."""
    if action.metavar in ("PATH", "DIR", "FILE"):
        return partial(_paths, files=action.metavar == "FILE")
    words = audit.MESSAGE_IDS if action.metavar == "EVENT" else _words(action)
    return partial(_starting, tuple(words))


def _words(option: argparse.Action) -> Iterator[str]:
    """The words that an option of the policy takes: all of a few, or beside a number."""
    schema = _SCHEMAS.get(option.dest, {})
    yield from schema.get("enum", ())
    yield from (each["const"] for each in schema.get("anyOf", ()) if "const" in each)


def _starting(words: Iterable[str], prefix: str, **_: object) -> Iterator[str]:
    return (word for word in words if word.startswith(prefix))


def _paths(prefix: str, *, files: bool, **_: object) -> Iterator[str]:
    """Directories, and with *files* these too, whose path begins with *prefix*.

    What a terminal cannot show, and hidden ones that nobody asked for, are left out.
    """
    above, slash, start = prefix.rpartition("/")
    with suppress(OSError), os.scandir(os.path.expanduser(above + slash) or ".") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            shown = entry.name.isprintable() and entry.name.startswith(start)
            if shown and (start or not entry.name.startswith(".")):
                if entry.is_dir():
                    yield f"{above}{slash}{entry.name}/"
                elif files:
                    yield f"{above}{slash}{entry.name}"
