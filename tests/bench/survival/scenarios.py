"""The scenarios. Time is accelerated: seconds stand for the hours between real saves.

Sizes are shares of the disk, chosen so that percentages mislead: the saves that lie there stay
below the default `high` of 85 %, and the next one does not fit any more.
"""

from __future__ import annotations

from random import Random

from bench.survival.cast import (
    MIB,
    Cast,
    Neighbour,
    Old,
    Reader,
    RealTraining,
    Save,
    Scenario,
    Training,
)
from bench.survival.filesystems import Room

REAL_SAVE = 12_250_000
"""Bytes of a save of the real training, with `--hidden 248`."""
_REAL = ("--full", "--hidden", "248", "--save_steps", "2", "--step_sleep", "1.0")


def losses(count: int, best: int) -> list[float]:
    """Evaluation losses that fall up to save number *best* and rise after it."""
    return [1 + abs(number - best) / count for number in range(1, count + 1)]


def saves(sizes: list[int], waits: list[float], best: int, **kind: int) -> tuple[Save, ...]:
    each = zip(waits, sizes, losses(len(sizes), best), strict=True)
    return tuple(Save(after, size, loss, **kind) for after, size, loss in each)


def even(room: Room, share: float, count: int, after: float, best: int = 3) -> tuple[Save, ...]:
    """*count* saves of one size, each a *share* of the disk, *after* seconds of training."""
    return saves([int(share * room.bytes)] * count, [after] * count, best)


def steady(room: Room) -> Cast:
    return Cast((Training("a", even(room, 0.208, 10, after=2.4)),))


def accelerating(room: Room) -> Cast:
    waits = [max(0.3, 3.0 * 0.8**n) for n in range(14)]
    return Cast((Training("a", saves([int(0.208 * room.bytes)] * 14, waits, best=3)),))


def two_runs(room: Room) -> Cast:
    return Cast(
        (
            Training("a", even(room, 0.105, 10, after=2.2), fsync=True),
            Training("b", even(room, 0.105, 8, after=3.0), fsync=True),
        )
    )


def neighbour(room: Room) -> Cast:
    training = Training("a", even(room, 0.15, 10, after=2.4), stubborn=True)
    return Cast((training,), neighbour=Neighbour(int(0.29 * room.bytes), rate=5 * MIB))


def growing(room: Room) -> Cast:
    shares = (0.03, 0.06, 0.09, 0.17, 0.18, 0.18, 0.33, 0.34)
    sizes = [int(share * room.bytes) for share in shares]
    return Cast((Training("a", saves(sizes, [2.4] * len(sizes), best=1)),))


def inodes(room: Room) -> Cast:
    shards = int(0.208 * room.inodes) - 9
    files = saves([shards * 600 * 3] * 9, [2.4] * 9, best=3, shards=shards)
    return Cast((Training("a", files, rate=2 * MIB),))


def reader(room: Room) -> Cast:
    training = Training("a", even(room, 0.168, 9, after=2.4))
    return Cast((training,), reader=Reader("a/checkpoint-20"))


def trash_reader(room: Room) -> Cast:
    return Cast((Training("a", even(room, 0.19, 9, after=2.4)),), reader=Reader())


def family(room: Room) -> Cast:
    small, large = int(0.0075 * room.bytes), int(0.17 * room.bytes)
    adapters = saves([small] * 8, [0.8] * 8, best=8)
    full = tuple(Save(2.4, large, loss=2.0) for _ in range(5))
    lora = tuple(Save(s.after, s.bytes, s.loss, lora=True) for s in adapters)
    first = even(room, 0.157, 5, after=0.4, best=5)
    return Cast((Training("a", first), Training("b", (*lora, *full), starts=5.0)))


def linked(room: Room) -> Cast:
    own, frozen = even(room, 0.025, 36, after=0.8, best=5), int(0.45 * room.bytes)
    return Cast((Training("a", own, frozen=frozen),))


def many(room: Room) -> Cast:
    """Of each run a save every second or two: 16 a second, of ten files each."""
    del room
    draw = Random(1)
    waits = [[draw.uniform(1, 2) for _ in range(10)] for _ in range(24)]
    each = (saves([9000] * 10, own, best=10) for own in waits)
    return Cast(tuple(Training(f"r{n}", its, starts=0.3 * n) for n, its in enumerate(each)))


def not_adopted(room: Room) -> Cast:
    old = Old("old", even(room, 0.10, 3, after=0.0))
    return Cast((Training("a", even(room, 0.18, 9, after=2.4, best=9)),), old=old)


def real(room: Room) -> Cast:
    del room
    options = (*_REAL, "--max_steps", "14")
    return Cast(real=RealTraining("a", options, saves=7, every=2, bytes=REAL_SAVE, after=2.0))


def room_for(real_saves: float) -> int:
    """Bytes of a tmpfs with room for so many saves of the real training."""
    return int(real_saves * REAL_SAVE) // 4096 * 4096


SCENARIOS = (
    Scenario(
        "steady",
        "room for four saves and three quarters of the next",
        *("ext4", 128 * MIB, steady),
        quick=True,
    ),
    Scenario(
        "accelerating",
        "the same, while the time between saves shrinks from 3 s to 0.3 s",
        *("tmpfs", 128 * MIB, accelerating),
    ),
    Scenario(
        "two-runs",
        "room for nine saves of two trainings with rhythms of their own",
        *("xfs", 320 * MIB, two_runs),
    ),
    Scenario(
        "neighbour",
        "29 % of the disk filled by others at 5 MiB/s; the trainer goes on after a failed save",
        *("xfs", 320 * MIB, neighbour),
    ),
    Scenario(
        "growing",
        "each save up to twice the one before",
        *("ext4", 128 * MIB, growing),
    ),
    Scenario(
        "inodes",
        "saves of very many files: room for four and three quarters, in inodes",
        *("ext4", 64 * MIB, inodes),
        inodes=2048,
        quick=True,
    ),
    Scenario(
        "reader",
        "somebody holds a file of the second save open",
        *("xfs", 320 * MIB, reader),
        quick=True,
    ),
    Scenario(
        "trash-reader",
        "somebody holds open what lies in the trash",
        *("ext4", 128 * MIB, trash_reader),
    ),
    Scenario(
        "family",
        "adapters become full saves of 23 times their size, beside the remains of a run",
        *("ext4", 128 * MIB, family),
    ),
    Scenario(
        "linked",
        "frozen weights of 45 % of the disk, a hard link to them in each of 36 small saves",
        *("ext4", 128 * MIB, linked),
        quick=True,
    ),
    Scenario(
        "many",
        "24 runs that save every second or two: room for half of the files",
        *("ext4", 64 * MIB, many),
        inodes=1536,
        contenders=("nothing", "ckptd"),
    ),
    Scenario(
        "not-adopted",
        "30 % of the disk belongs to an old run that nobody adopted",
        *("tmpfs", 128 * MIB, not_adopted),
    ),
    Scenario(
        "trainer",
        "a real transformers.Trainer; room for 3.7 saves",
        *("tmpfs", room_for(3.7), real),
        real=True,
        contenders=("nothing", "trainer's limit 2", "ckptd", "ckptd, trainer's limit 2"),
    ),
    Scenario(
        "trainer-tight",
        "a real transformers.Trainer; room for 2.5 saves",
        *("tmpfs", room_for(2.5), real),
        real=True,
        contenders=("nothing", "trainer's limit 2", "ckptd --pressure-keep-last 1"),
    ),
)
