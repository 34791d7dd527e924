"""What ckptd is stopped in: a small tree, one act on it, and where everything is to end."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from corpus import cut, write_checkpoint
from crash.stopping import killed_at
from crash.witness import ELSEWHERE, GONE, HOME, TRASH
from house import ckptd

from ckptd import cli, trash
from ckptd.actions import undo
from ckptd.config import Configuration
from ckptd.daemon.reload import Reload
from ckptd.ledger import Ledger

ONE = {"policy__keep_last": 1, "policy__keep_best": 0}
AT_ONCE = {**ONE, "policy__trash_for": "0s"}
KEEP = {"policy__keep_last": "unlimited", "policy__trash_for": "30d"}
OWNER = 1500


@dataclass(frozen=True)
class Scene:
    """`ends`: where each checkpoint is once the act is done, by its step.

    `again` are the options of the same policy at the restart, `keeping` those of one by which
    nothing goes. Where `waits`, the database can be
    written neither before nor after. `built` prepares the tree, `act` is what is stopped, and
    `mended` ends what was wrong with the machine meanwhile.
    """

    name: str
    built: Callable[[Path], None]
    act: Callable[[Path], None]
    ends: Mapping[int, str]
    again: Mapping[str, object] = field(default_factory=lambda: ONE)
    keeping: Mapping[str, object] = field(default_factory=lambda: KEEP)
    waits: bool = False
    root: bool = False
    mended: Callable[[Path], None] = lambda place: None


def saves(place: Path, *steps: int) -> None:
    """The run, and the state directory of a ckptd that was here before."""
    for step in steps:
        write_checkpoint(place / "out", step, mtime=1_700_000_000 + step)
    settle(place, **KEEP)


def settle(place: Path, **options: object) -> None:
    """One ckptd from its start to where nothing more is due."""
    with ckptd(place / "state", place / "out", **options) as daemon:
        daemon.settle(0)


def settling(**options: object) -> Callable[[Path], None]:
    return lambda place: settle(place, **options)


def three(place: Path) -> None:
    saves(place, 5, 10, 15)


def trashed(place: Path) -> None:
    three(place)
    settle(place, **ONE)


def wreck(place: Path) -> None:
    three(place)
    cut(place / "out" / "checkpoint-15" / "adapter_model.safetensors", 300)


def owned(place: Path) -> None:
    """A user's run in a directory of root's, as on most servers."""
    three(place)
    place.chmod(0o755)
    subprocess.run(["chown", "-R", str(OWNER), place / "out"], check=True)


def newer(place: Path) -> None:
    """The database is one that a ckptd of the future writes: all stays in its slots."""
    three(place)
    with closing(sqlite3.connect(place / "state" / "ledger.db")) as db:
        db.execute("PRAGMA user_version = 99")


def drained(place: Path) -> None:
    """Outcomes wait in slots, and the database takes them again."""
    newer(place)
    settle(place, **ONE)
    with closing(sqlite3.connect(place / "state" / "ledger.db")) as db:
        db.execute("PRAGMA user_version = 2")


def read_only(place: Path) -> None:
    """The ledger's filesystem is read-only: what is let go is recorded in the trash."""
    three(place)
    state = place / "state"
    subprocess.run(["mount", "--bind", state, state], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)


def writable(place: Path) -> None:
    subprocess.run(["umount", place / "state"], check=True)


def beginning(place: Path) -> None:
    three(place)
    for path in (place / "state").iterdir():
        path.unlink()
    (place / "state").rmdir()


def interrupted(place: Path) -> None:
    """A ckptd was killed in the midst of a purge, another one after a move."""
    trashed(place)
    purging = settling(**ONE, policy__trash_for="1ms")
    assert killed_at("unlinkat", lambda: purging(place)).killed


def moved(place: Path) -> None:
    three(place)
    assert killed_at(("renameat2", "fsync"), lambda: settle(place, **ONE)).killed


def alone(place: Path) -> None:
    """The run is the top of its filesystem: no trash can be made for it."""
    out = place / "out"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", out], check=True)
    three(place)


def restored(to: str | None) -> Callable[[Path], None]:
    def act(place: Path) -> None:
        with Ledger(str(place / "state")) as ledger:
            item = next(i for i in trash.items(str(place)) if i.name == "checkpoint-5")
            into = None if to is None else str(place / to)
            undo.restore(ledger, lambda record: None, item, to=into)

    return act


def with_elsewhere(place: Path) -> None:
    (place / "elsewhere").mkdir()
    trashed(place)


def command(*words: str) -> Callable[[Path], None]:
    def act(place: Path) -> None:
        path = str(place / "out" / "checkpoint-5")
        assert cli.main([*words, "--state", str(place / "state"), path]) == 0

    return act


def reloaded(place: Path) -> None:
    """The configuration asks for less from one moment to the next."""
    file = place / "ckptd.toml"
    file.write_text(f'[[watch]]\npath = "{place}/out"\nadopt = "all"\n[disk]\nreserve = "0B"\n')
    with ckptd(place / "state", config_file=file) as daemon:
        daemon.reload = Reload(Configuration(str(file), {}, []))
        daemon.cycle()
        file.write_text(file.read_text() + "[policy]\nkeep_last = 1\nkeep_best = 0\n")
        daemon.reload.ask()
        for _ in range(3):
            daemon.cycle()


def born(place: Path) -> None:
    """A run appears under a watch: its adoption is written, then what no rule keeps goes."""
    file = place / "ckptd.toml"
    file.write_text(f'[[watch]]\npath = "{place}"\n[policy]\nkeep_last = 1\nkeep_best = 0\n')
    away = place.with_name("away")
    (place / "out").rename(away)
    with ckptd(place / "state", config_file=file) as daemon:
        daemon.eyes.look(users=False)
        away.rename(place / "out")
        for step in (5, 10, 15):
            os.utime(place / "out" / f"checkpoint-{step}" / "trainer_state.json")
        daemon.settle(0)


IN_TRASH = {5: TRASH, 10: TRASH, 15: HOME}
PURGED = {5: GONE, 10: GONE, 15: HOME}
PRESSED = {**ONE, "disk__reserve": "900TiB", "policy__keep_last": "unlimited"}
PRESSED |= {"policy__pressure__keep_last": 1}
SCENES = [
    Scene("evict", three, settling(**ONE), IN_TRASH),
    Scene("evict to a user's trash", owned, settling(**ONE), IN_TRASH, root=True),
    Scene(
        "set_aside",
        wreck,
        settling(**KEEP),
        {5: HOME, 10: HOME, 15: TRASH},
        again=KEEP,
        keeping={"mode": "observe"},
    ),
    Scene("evict and purge at once", three, settling(**AT_ONCE), PURGED, again=AT_ONCE),
    Scene(
        "evict under demand",
        three,
        settling(**PRESSED),
        PURGED,
        again=PRESSED,
    ),
    Scene(
        "purge what expired",
        trashed,
        settling(**ONE, policy__trash_for="1ms"),
        PURGED,
        again={**ONE, "policy__trash_for": "1ms"},
    ),
    Scene("restore", trashed, restored(None), {5: HOME, 10: TRASH, 15: HOME}, again=KEEP),
    Scene(
        "restore elsewhere",
        with_elsewhere,
        restored("elsewhere"),
        {5: ELSEWHERE, 10: TRASH, 15: HOME},
        again=KEEP,
    ),
    Scene(
        "recover from a purge",
        interrupted,
        settling(**KEEP),
        {5: GONE, 10: TRASH, 15: HOME},
        again=KEEP,
    ),
    Scene("recover from a move", moved, settling(**ONE), IN_TRASH),
    Scene("evict without a trash", alone, settling(**AT_ONCE), PURGED, again=AT_ONCE, root=True),
    Scene("reload", three, reloaded, IN_TRASH),
    Scene("pin", three, command("pin"), {5: HOME, 10: HOME, 15: HOME}, again=KEEP),
    Scene("adopt", three, command("adopt"), {5: HOME, 10: HOME, 15: HOME}, again=KEEP),
    Scene("evict with slots alone", newer, settling(**ONE), IN_TRASH, waits=True),
    Scene("evict into a refuge", read_only, settling(**ONE), IN_TRASH, root=True, mended=writable),
    Scene(
        "evict and purge into a refuge",
        read_only,
        settling(**AT_ONCE),
        PURGED,
        again=AT_ONCE,
        root=True,
        mended=writable,
    ),
    Scene("drain", drained, settling(**ONE), IN_TRASH),
    Scene("first start", beginning, settling(**ONE), IN_TRASH),
]
