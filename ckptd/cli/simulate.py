"""`simulate`: a policy played ahead of time, on an invented training or on what lies there.

    {"version": 1, "hours": 72.0,
     "filesystems": [{"path", "limit", "used", "free"}],
     "runs": [{"path", "save_bytes", "save_interval_seconds"}],
     "save_total_limit": 3,
     "plays": {"policy" | "no_policy" | "save_total_limit":
               {"full_in_seconds", "short_in_seconds", "saved", "kept", "let_go", "dead": ["…"],
                "replay_mean_seconds", "replay_most_seconds",
                "filesystems": [{"path", "peak", "points": [[seconds, used]]}]}},
     "sentences": ["…"]}

`filesystems` and `runs` are as they are at the start, the runs those that go on. Seconds count
from the start; null is what does not happen. `full_in_seconds`: a save finds no room (ENOSPC);
`short_in_seconds`: nothing more may go that would have to; `dead` are runs that a save failed in.
`replay_…_seconds` is what going back to a moment of those runs costs, each moment being as likely.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from ckptd import render, simulation, worldfile
from ckptd.cli.once import looking, must_exist
from ckptd.cli.pictures import picture
from ckptd.cli.played import Plays, closing, curves_of, document, opening
from ckptd.cli.progress import progress
from ckptd.cli.start import reading, real_run_of, settings_of
from ckptd.cli.tables import show
from ckptd.errors import ConfigError, RefusedError
from ckptd.model import World
from ckptd.policy import KeepLast, Policies
from ckptd.simulation import Course
from ckptd.units import Share, parse_bytes, parse_duration, parse_mark, show_text

T = TypeVar("T")
INVENTED: Final = ("save_size", "every", "disk")
ONLY_INVENTED: Final = (*INVENTED, "used", "runs")
LONGEST: Final = 100_000  # hours
MOST_RUNS: Final = 1_000
LIMIT: Final = 3  # where the policy has none: what people set
NOTHING: Final = "No run is known to go on (that takes two saves), so there is nothing to play."


def simulate(arguments: argparse.Namespace) -> int:
    """`ckptd simulate`: 0, 2 for a usage error, 3 when the FILE of --record is there."""
    hours = _asked(arguments.hours, "--hours", _hours)
    settings = settings_of(arguments)
    world, ways, policies, now = _start(arguments, settings.policies)
    limit = _asked(arguments.save_total_limit, "--save-total-limit", _count) or _limit(policies)
    if not simulation.saves_in(ways, hours * 3600) <= simulation.MOST_SAVES:
        most = f"at most {simulation.MOST_SAVES} are played"
        raise ConfigError(
            f"so many saves come in {hours:g} h that nobody would wait for it: {most}",
            hint="fewer --hours",
        )
    plays = _played(world, ways, policies, hours, limit, now)
    if arguments.json:
        print(render.dumps(document(plays)))
    else:
        _show(plays)
    return 0


def _played(
    world: World,
    ways: tuple[Course, ...],
    policies: Policies,
    hours: float,
    limit: int,
    now: datetime,
) -> Plays:
    with progress() as shown:
        keepers = {
            "no_policy": simulation.Nobody(),
            "save_total_limit": simulation.ByTrainer(limit),
            "policy": simulation.ByPolicy(policies, lambda: shown.step("playing")),
        }
        played = {
            word: simulation.play(world, ways, keeper, hours * 3600, now)
            for word, keeper in (keepers.items() if ways else ())
        }
    return Plays(world, ways, hours, limit, played)


def _show(plays: Plays) -> None:
    if not plays.ways:
        print(NOTHING)
        return
    print("\n".join(opening(plays)))
    for curve, curves in curves_of(plays):
        filesystem = curve.filesystem
        print(f"\n{show_text(filesystem.name)}, in use:")
        points = {name: each.points for name, each in curves.items()}
        usable = filesystem.usable
        width = shutil.get_terminal_size().columns
        print(picture(points, most=usable, hours=plays.hours, width=width))
    print()
    show(list(closing(plays)))


# --- what is played ----------------------------------------------------------------------

Start = tuple[World, tuple[Course, ...], Policies, datetime]


def _start(arguments: argparse.Namespace, policies: Policies) -> Start:
    invents = any(getattr(arguments, name) is not None for name in ONLY_INVENTED)
    sources = [*arguments.paths[:1], *([arguments.world] if arguments.world else [])]
    if len(sources) + invents > 1:
        raise ConfigError("a PATH, a --world and a training that is thought up exclude each other")
    if invents:
        return _invented(arguments, policies)
    if arguments.world is not None:
        world, now = _recorded(arguments.world)
    else:
        world, policies, now = _seen(arguments)
    if arguments.record is not None:
        _record(arguments.record, world, now)
    return world, simulation.courses(world, now), policies, now


def _invented(arguments: argparse.Namespace, policies: Policies) -> Start:
    missing = [f"--{n.replace('_', '-')}" for n in INVENTED if getattr(arguments, n) is None]
    if missing:
        raise ConfigError(
            f"a training that is thought up needs {' and '.join(missing)} as well",
            hint="ckptd simulate --save-size 14GiB --every 20min --disk 2TiB",
        )
    if arguments.record is not None:
        raise ConfigError("--record writes what lies at a PATH; an invented training lies nowhere")
    disk = _asked(arguments.disk, "--disk", _size)
    used = _asked(arguments.used or "0%", "--used", parse_mark)
    taken = used.of(disk) if isinstance(used, Share) else used
    if taken > disk:
        raise ConfigError("--used: more than the --disk holds")
    now = datetime.now(UTC)
    world, ways = simulation.invented(
        disk,
        taken,
        save=_asked(arguments.save_size, "--save-size", _size),
        every=_asked(arguments.every, "--every", _interval),
        runs=_asked(arguments.runs or "1", "--runs", _runs),
        now=now,
    )
    return world, ways, policies, now


def _seen(arguments: argparse.Namespace) -> tuple[World, Policies, datetime]:
    settings = settings_of(arguments)
    if not settings.watches:
        raise ConfigError(
            "nothing to play: no PATH is given and no [[watch]] is configured",
            hint="ckptd simulate PATH, or --save-size 14GiB --every 20min --disk 2TiB",
        )
    must_exist(arguments.paths)
    for path in arguments.paths:
        real_run_of(path)  # of one that does not answer nothing would be played
    look = looking(reading(arguments, settings))
    return look.world, look.policies, datetime.now(UTC)


def _recorded(path: str) -> tuple[World, datetime]:
    name = show_text(path)
    if not os.path.isfile(path):
        fact = "is no file" if os.path.lexists(path) else "does not exist"
        raise ConfigError(f"--world: {name} {fact}", hint="ckptd simulate --record writes one")
    try:
        with open(path, "rb") as file:
            return worldfile.read(file.read())
    except OSError as error:
        raise ConfigError(f"--world: {name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--world: {name}: {show_text(str(error))}") from error


def _record(path: str, world: World, now: datetime) -> None:
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(worldfile.write(world, now))
    except FileExistsError:
        raise RefusedError(
            f"--record: {show_text(path)} is there already, so nothing was written",
            hint="give another name",
        ) from None


# --- one value ---------------------------------------------------------------------------


def _asked(text: str, name: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {show_text(str(error))}") from error


def _size(text: str) -> int:
    size = parse_bytes(text)
    if not 0 < size < worldfile.LARGEST:
        raise ValueError(f"{text!r} is no size that a file or a disk can have")
    return size


def _interval(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError(f"{text!r} lets no time pass between two saves")
    return seconds


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours <= LONGEST:
        raise ValueError(f"{text!r} is no number of hours such as 72")
    return hours


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text)):
        raise ValueError(f"{text!r} is no count such as 3")
    return int(text)


def _runs(text: str) -> int:
    count = _count(text) or 1
    if count > MOST_RUNS:
        raise ValueError(f"{count} are too many; at most {MOST_RUNS} are played")
    return count


def _limit(policies: Policies) -> int:
    """The policy's own keep_last, where it is a number."""
    counts = (rule.count for rule in policies.default.rules if isinstance(rule, KeepLast))
    return next((count for count in counts if count is not None), LIMIT)
