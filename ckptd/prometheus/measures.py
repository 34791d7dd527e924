"""What is measured, by the names that Prometheus has for it. The door to prometheus_client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ckptd import __version__
from ckptd.model import Health, Plan, Relief, Run, World
from ckptd.units import show_text

Values = Iterable[tuple[Sequence[str], float]]
"""Values, each by those of its labels."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a moment (seconds since 1970), and what was done since the start.

    `events` are counted by event and outcome, `evictions` by rule; bytes by event.
    """

    at: float
    plan: Plan
    world: World
    events: Mapping[tuple[str, str], int]
    evictions: Mapping[str, int]
    bytes: Mapping[str, int]


class Measures(Collector):
    """What *last* answers, whenever Prometheus asks; nothing before the first look."""

    def __init__(self, last: Callable[[], Seen | None]) -> None:
        self._last = last
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        version = [((__version__,), 1.0)]
        yield _gauge("build_info", "The version of ckptd.", ("version",), version)
        if seen := self._last():
            about = "When ckptd looked at everything last."
            yield _gauge("last_look_timestamp_seconds", about, (), [((), seen.at)])
            yield from _filesystems(seen.plan.filesystems)
            yield from _runs(seen.world)
            yield from _acts(seen)

    def text(self) -> bytes:
        """All of it in the text format of Prometheus."""
        return generate_latest(self.registry)

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Answers there from threads of its own; returns what ends that. Raises OSError."""
        server, _ = start_http_server(port, host, self.registry)

        def end() -> None:
            server.shutdown()
            server.server_close()

        return end


_OF_FILESYSTEMS: Final[tuple[tuple[str, str, Callable[[Relief], float | None]], ...]] = (
    ("size_bytes", "What users can fill.", lambda n: n.filesystem.usable),
    ("free_bytes", "What users may still write.", lambda n: n.filesystem.free),
    ("free_inodes", "Files that can still be made.", lambda n: n.filesystem.inodes_free),
    ("demand_bytes", "What must come free.", lambda n: n.demand),
    ("reserve_bytes", "What the next saves may take.", lambda n: n.reserve),
    ("shortfall_bytes", "What must come free and ckptd may not let go.", lambda n: n.shortfall),
    ("full_in_seconds", "When it is full if nothing is let go.", lambda n: n.full_in_seconds),
    (
        "spent_in_seconds",
        "When it is full although all that may go has gone.",
        lambda n: n.spent_in_seconds,
    ),
)


def _filesystems(needs: Sequence[Relief]) -> Iterator[Metric]:
    """`limit` is what bounds it besides the disk, such as a quota."""
    for name, about, measure in _OF_FILESYSTEMS:
        measured = [(need.filesystem, measure(need)) for need in needs]
        values = [((place.path, place.limit), n) for place, n in measured if n is not None]
        yield _gauge(f"filesystem_{name}", about, ("path", "limit"), values)


def _runs(world: World) -> Iterator[Metric]:
    adopted = Counter(str(run.adopted).lower() for run in world.runs)
    runs = [((word,), adopted[word]) for word in ("true", "false")]
    yield _gauge("runs", "Runs, by whether ckptd may act on them.", ("adopted",), runs)
    health = Counter(c.health for run in world.runs for c in run.checkpoints)
    saves = [((word.value,), health[word]) for word in Health]
    yield _gauge("checkpoints", "Checkpoints, by their health.", ("health",), saves)
    newest = [((r.path,), r.complete[-1].saved_at.timestamp()) for r in world.runs if _trains(r)]
    about = "When the newest complete checkpoint of a live run was saved."
    yield _gauge("run_newest_complete_timestamp_seconds", about, ("run",), newest)
    trash = [((), sum(item.bytes for item in world.trash))]
    yield _gauge("trash_bytes", "What lies in the trash, to be restored or purged.", (), trash)
    unseen = [((), len({lost.path for lost in world.unreadable}))]
    yield _gauge("unreadable", "Places that cannot be seen.", (), unseen)
    yield _gauge("frozen", "Drop-ins that cannot be obeyed.", (), [((), len(world.frozen))])


def _trains(run: Run) -> bool:
    return run.live and bool(run.complete)


def _acts(seen: Seen) -> Iterator[Metric]:
    went = [((rule,), count) for rule, count in seen.evictions.items()]
    yield _counter("evictions", "Checkpoints let go of, by the rule.", ("rule",), went)
    size = [((), seen.bytes.get("evict", 0))]
    yield _counter("evicted_bytes", "Bytes of checkpoints let go of.", (), size)
    size = [((), seen.bytes.get("purge", 0))]
    yield _counter("purged_bytes", "Bytes unlinked out of the trash.", (), size)
    told = list(seen.events.items())
    about = "Audit events, by their kind and outcome."
    yield _counter("events", about, ("event", "outcome"), told)


def _gauge(name: str, about: str, labels: Sequence[str], values: Values) -> Metric:
    return _filled(GaugeMetricFamily(f"ckptd_{name}", about, labels=labels), values)


def _counter(name: str, about: str, labels: Sequence[str], values: Values) -> Metric:
    return _filled(CounterMetricFamily(f"ckptd_{name}", about, labels=labels), values)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Values
) -> GaugeMetricFamily | CounterMetricFamily:
    for labels, value in values:
        family.add_metric([show_text(label) for label in labels], float(value))
    return family
