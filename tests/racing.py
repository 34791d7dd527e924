"""Two users and an attack: a process of ALICE that swaps what root is about to touch."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import signal
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path

import corpus

ALICE, BOB = 1500, 1501
SECRET = "hunter2"  # stands in the content and in the names of what only BOB may read
EXCHANGE = 2  # linux/fs.h, RENAME_EXCHANGE
LIBC = ctypes.CDLL(None, use_errno=True)


class Stage:
    """`top` is root's; ALICE has `alice/exp`, a run; BOB has `bob/out`, which is his alone."""

    def __init__(self, top: Path, saves: int) -> None:
        self.top, self.alice, self.bob = top, top / "alice", top / "bob"
        self.run, self.victim = self.alice / "exp", self.bob / "out"
        for place, uid in ((self.alice, ALICE), (self.bob, BOB)):
            place.mkdir()
            os.chown(place, uid, uid)
        for nth in range(saves):
            step = 5 * (nth + 1)
            save_of(ALICE, self.run, step)
            self.hide(save_of(BOB, self.victim, step))

    def hide(self, save: Path) -> None:
        state = (save / "trainer_state.json").read_text().replace('"loss"', f'"{SECRET}"')
        (save / "trainer_state.json").write_text(state)
        (save / f"{SECRET}.safetensors").write_bytes(b"cut")
        for path in (save, *save.rglob("*")):
            os.chown(path, BOB, BOB)
            path.chmod(0o700 if path.is_dir() else 0o600)
        corpus.set_times(save, 1.7e9)


def save_of(uid: int, run: Path, step: int) -> Path:
    """A small save of *uid* with a directory in it."""
    new = not run.exists()
    save = corpus.write_checkpoint(run, step, size=64, mtime=1.7e9 + step)
    (save / "sub").mkdir()
    (save / "sub" / "optim.bin").write_bytes(b"o" * 100)
    corpus.set_times(save, 1.7e9 + step)
    for path in (*([run] if new else []), save, *save.rglob("*")):
        os.chown(path, uid, uid)
    return save


@contextmanager
def staged(saves: int):
    """A Stage in a directory that every user may pass through; pytest's own are closed."""
    top = Path(os.path.realpath(tempfile.mkdtemp()))
    top.chmod(0o755)
    try:
        yield Stage(top, saves)
    finally:
        shutil.rmtree(top)


def exchange(place: Path, name: str, other: str, target: Path, *, hard: bool = False):
    """What a racer does over and over: *name* in *place* and *other*, which leads to *target*."""
    if hard:
        os.link(target, place / other)
    else:
        (place / other).symlink_to(target)
        os.chown(place / other, ALICE, ALICE, follow_symlinks=False)
    return place, os.fsencode(name), os.fsencode(other)


@contextmanager
def racing(*pairs):
    """A process of ALICE exchanging each pair as fast as it can; `swaps()` counts."""
    counted = mmap.mmap(-1, 8)
    held = [(os.open(place, os.O_RDONLY), name, other) for place, name, other in pairs]
    if (racer := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(ALICE)
            os.setuid(ALICE)
            _swap_for_ever(held, counted)
        finally:
            os._exit(1)
    try:
        yield lambda: struct.unpack("Q", counted[:8])[0]
    finally:
        os.kill(racer, signal.SIGKILL)
        os.waitpid(racer, 0)
        for fd, _, _ in held:
            os.close(fd)


def _swap_for_ever(pairs, counted):
    dice, done = random.Random(1), 0
    while True:
        fd, name, other = dice.choice(pairs)
        for _ in range(dice.randint(1, 5)):
            LIBC.renameat2(fd, name, fd, other, EXCHANGE)
            done += 1
        counted[:8] = struct.pack("Q", done)
