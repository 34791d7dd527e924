"""Who keeps the disk from filling: nobody, a cron loop, the trainer's own limit, ckptd."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from bench.measuring import ckptd
from bench.survival.processes import started
from watching import notify_socket

# A nightly cron, accelerated like everything here. The `-d` is what the usual script lacks.
CRON = """
while sleep 3; do
    for run in "$1"/*/; do
        ls -dt "$run"checkpoint-* 2>/dev/null | tail -n +3 | xargs -r rm -rf
    done
done
"""


@dataclass(frozen=True)
class Contender:
    """`guard` is the command beside the trainings, told the directory of the runs and one for its
    own files; `limit` is the trainers' save_total_limit. `firm` of the newest, and the best, it
    must never lose; `judged`: whether it has to reach the goal.
    """

    name: str
    guard: Callable[[Path, Path], list[str]] | None = None
    limit: int | None = None
    firm: int = 2
    judged: bool = False


def cron(runs: Path, place: Path) -> list[str]:
    del place
    return ["sh", "-c", CRON, "cron", str(runs)]


def watching(*options: str) -> Callable[[Path, Path], list[str]]:
    """`ckptd watch` with *options*, which adopts what is named."""

    def command(runs: Path, place: Path) -> list[str]:
        state = ("--state", place / "state", "--config", configuration(place, ""))
        return ckptd("watch", "--json", *state, *options, runs)

    return command


def configured(guard: Callable[[Path, Path], list[str]]) -> Callable[[Path, Path], list[str]]:
    """The same ckptd as a service would be: its watch configured, so that only new runs are its."""

    def command(runs: Path, place: Path) -> list[str]:
        *words, _ = guard(runs, place)
        configuration(place, f'[[watch]]\npath = "{runs}"\n')
        return words

    return command


def configuration(place: Path, text: str) -> Path:
    """A file with *text* and nothing else, whatever this machine's own configuration says."""
    path = place / "ckptd.toml"
    path.write_text(text)
    return path


CONTENDERS = (
    Contender("nothing"),
    Contender("cron, newest 2", cron),
    Contender("trainer's limit 2", limit=2),
    Contender("ckptd", watching(), judged=True),
    Contender("ckptd --keep-last 2", watching("--keep-last", "2"), judged=True),
    Contender("ckptd, trainer's limit 2", watching(), limit=2, judged=True),
    Contender(
        "ckptd --pressure-keep-last 1", watching("--pressure-keep-last", "1"), firm=1, judged=True
    ),
)


@contextmanager
def guarding(command: list[str], told: Path) -> Iterator[Popen[bytes]]:
    """The guard, once it is ready if it says so; what it tells goes to the file *told*."""
    ready = notify_socket()
    address = "@" + ready.getsockname()[1:].decode()
    with ready, started(command, told, os.environ | {"NOTIFY_SOCKET": address}) as process:
        if "ckptd" in command:
            while not ready.recv(4096).startswith(b"READY=1"):
                pass
        yield process
