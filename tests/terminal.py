"""ckptd as a person meets it: the real process, its words and its exit status."""

import fcntl
import hashlib
import json
import os
import pty
import select
import stat
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CKPTD = (sys.executable, "-m", "ckptd")
PATIENCE = 30


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def document(self):
        """The one JSON document that stands on standard output, and nothing beside it."""
        return json.loads(self.out)

    @property
    def checkpoints(self):
        """Every checkpoint of the document, by its name."""
        return {
            os.path.basename(checkpoint["path"]): checkpoint
            for run in self.document["runs"]
            for checkpoint in run["checkpoints"]
        }

    @property
    def words(self):
        """What the document says of the checkpoint that is hardest to describe: all of it."""
        said = [
            f"{c['health']} {c['evidence']} {' '.join(r['text'] for r in c['reasons'])}"
            for run in self.document["runs"]
            for c in run["checkpoints"]
        ]
        return "\n".join(
            [*said, *(f"{u['path']} {u['error']}" for u in self.document["unreadable"])]
        )


class Terminal:
    """Runs ckptd with a state directory of its own, on a disk that counts as roomy."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def run(self, command, *words, roomy=True, stdin=b"", timeout=PATIENCE, cwd=None, before=()):
        marks = ("--high", "99.9%", "--low", "99.8%", "--hard", "100%", "--reserve", "0B")
        options = marks if roomy and command in ("plan", "apply", "why", "exec", "watch") else ()
        argv = (*before, *CKPTD, command, "--state", str(self.state), *options, *map(str, words))
        done = subprocess.run(
            argv, input=stdin, capture_output=True, timeout=timeout, cwd=cwd, check=False
        )
        return Answer(
            done.returncode,
            done.stdout.decode(errors="surrogateescape"),
            done.stderr.decode(errors="surrogateescape"),
        )

    def __getattr__(self, command):
        return lambda *words, **how: self.run(command, *words, **how)

    def json(self, command, *words, **how):
        return self.run(command, "--json", *words, **how)


@dataclass(frozen=True)
class Screen:
    """The person's side of a terminal: called, it reads; `type` presses keys."""

    leader: int

    def __call__(self, until=None):
        """All that comes until the child ends, or *until* has come: a text, or what is true."""
        came = b""
        end = time.monotonic() + PATIENCE
        while (left := end - time.monotonic()) > 0 and not self._is_there(until, came):
            if select.select([self.leader], [], [], min(left, 0.1))[0]:
                try:
                    came += os.read(self.leader, 65536)
                except OSError:  # the other side is closed
                    break
        return came.decode(errors="replace")

    def _is_there(self, until, came):
        return until() if callable(until) else until is not None and until.encode() in came

    def type(self, keys):
        os.write(self.leader, keys.encode())


@contextmanager
def on_a_terminal(*argv, columns=100, environment=(), cwd=None):
    """The command *argv* on a terminal of its own, and that terminal's screen."""
    leader, follower = pty.openpty()
    settings = {"COLUMNS": str(columns), "TERM": "xterm-256color", **dict(environment)}
    child = subprocess.Popen(
        [str(word) for word in argv],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, **settings},
        cwd=cwd,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  fish wants it
    )
    os.close(follower)
    try:
        yield child, Screen(leader)
    finally:
        child.kill()
        child.wait(PATIENCE)
        os.close(leader)


def snapshot(top: Path) -> dict[str, tuple]:
    """Everything at and below *top*: lstat without access times, link targets, small contents."""
    found = {".": _facts(top)}
    for directory, folders, files in os.walk(os.fsencode(top)):
        for name in (*folders, *files):
            path = os.path.join(directory, name)
            found[os.fsdecode(os.path.relpath(path, os.fsencode(top)))] = _facts(path)
    return found


def _facts(path):
    seen = os.lstat(path)
    content = os.readlink(path) if stat.S_ISLNK(seen.st_mode) else None
    if stat.S_ISREG(seen.st_mode) and seen.st_size < 2**23:
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    return (
        seen.st_ino,
        seen.st_mode,
        seen.st_nlink,
        seen.st_uid,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        content,
    )


def contents(top: Path) -> dict[str, tuple]:
    """What a person would miss below *top*: kinds, sizes, times and bytes of all that is there."""
    return {
        path: (facts[1], facts[4], facts[7]) if stat.S_ISREG(facts[1]) else (facts[1], facts[7])
        for path, facts in snapshot(top).items()
        if ".ckptd-trash" not in path
    }
