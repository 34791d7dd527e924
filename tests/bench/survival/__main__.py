"""Whether trainings survive on small real disks, beside ckptd and beside what people use today.

    python tests/bench/survival [--only SCENARIO ...] [--under CONTENDER ...] [--quick] [--in-turn]
                                [--rounds N] [--logs DIRECTORY]

Root only: mounts small filesystems. In each scenario the same trainings run under nothing, a cron
loop that keeps the newest two, the trainer's own limit, and ckptd without and with a policy, each
on a disk of its own, all at the same time (or in turn). Time is accelerated: a save every second or
two, the cron every three.

Goal: no ENOSPC under ckptd wherever the firm ones (the newest two of each run and its best), one
save per live run and 5 % of the disk fit throughout, and no firm one lost anywhere. The exit
status is 1 when it is missed, and when a scenario failed to satisfy that condition.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

sys.path.append(str(Path(__file__).parents[2]))
from bench.survival import filesystems, table
from bench.survival.cast import Scenario
from bench.survival.contenders import CONTENDERS, Contender
from bench.survival.scenarios import SCENARIOS
from bench.survival.scoring import Score, score
from bench.survival.stage import perform

STACK = ("torch", "transformers", "peft", "accelerate")


def main() -> None:
    options = parsed()
    if os.geteuid() != 0:
        sys.exit("survival needs root: it mounts small filesystems")
    stop = Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    filesystems.in_own_namespace()
    with tempfile.TemporaryDirectory(prefix="survival-") as place:
        try:
            played = list(rounds(options, options.logs or Path(place), stop))
        except InterruptedError:
            sys.exit("survival was stopped; nothing is left mounted")
    print(table.closing(played))
    sys.exit(any(each.missed or not each.held for _, each in played))


def rounds(
    options: argparse.Namespace, logs: Path, stop: Event
) -> Iterator[tuple[Scenario, Score]]:
    """The scores that are judged, each with its scenario."""
    for number in range(1, options.rounds + 1):
        for scenario in chosen(options):
            scores = play(scenario, logs / f"{scenario.name}-{number}", options, stop)
            yield from ((scenario, each) for each in scores if each.judged)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="SCENARIO", default=names)
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--under", nargs="+", choices=names, metavar="CONTENDER", default=names)
    parser.add_argument("--in-turn", action="store_true", help="the contenders, one by one")
    parser.add_argument("--quick", action="store_true", help="four scenarios, some three minutes")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="keep what every process said, here")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> Iterator[Scenario]:
    lacking = [name for name in STACK if importlib.util.find_spec(name) is None]
    for scenario in SCENARIOS:
        if scenario.name not in options.only or (options.quick and not scenario.quick):
            continue
        if scenario.real and lacking:
            print(f"{scenario.name}: skipped; needs the e2e extra ({', '.join(lacking)})\n")
            continue
        yield scenario


def play(scenario: Scenario, logs: Path, options: argparse.Namespace, stop: Event) -> list[Score]:
    """Everybody's score, in one table."""
    names = {*scenario.contenders} & {*options.under}
    contenders = [each for each in CONTENDERS if each.name in names]
    if not contenders:
        return []
    images = filesystems.image_directory()
    with ThreadPoolExecutor(1 if options.in_turn else len(contenders)) as pool:
        acts = [
            pool.submit(perform, scenario, contender, images, place, stop)
            for contender, place in own_places(logs, contenders)
        ]
    done = [act.result() for act in acts]
    scores = [score(each) for each in done]
    table.show(scenario, done[0].room, scores)
    return scores


def own_places(logs: Path, contenders: Iterable[Contender]) -> Iterator[tuple[Contender, Path]]:
    """A directory for the logs of each."""
    for contender in contenders:
        place = logs / "".join(c if c.isalnum() else "-" for c in contender.name)
        place.mkdir(parents=True)
        yield contender, place


if __name__ == "__main__":
    main()
