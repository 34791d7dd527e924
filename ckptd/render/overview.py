"""What `status` says to people: disks, runs, what is not adopted, what stands in the way, acts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from ckptd.render.blocks import Block, Column, Row, Tone
from ckptd.render.report import DiskShown, Happened, Report, RunShown, Teller
from ckptd.render.wording import amount, counted, not_adopted
from ckptd.units import show_bytes, show_duration

EVENTS: Final = 10
DISK_COLUMNS: Final = (
    Column("disk", most=40),
    Column("used", right=True),
    Column("free", right=True),
    Column("state"),
)
RUN_COLUMNS: Final = (
    Column("run", most=40),
    Column("saves", right=True),
    Column("size", right=True, least=8),
    Column("step", right=True),
    Column("saved", right=True),
    Column("state"),
)
EVENT_COLUMNS: Final = (Column(), Column())
DISK_TONES: Final[dict[str, Tone]] = {"high": "warn", "hard": "bad"}
EVENT_TONES: Final[dict[str, Tone]] = {
    **dict.fromkeys(("evict", "set_aside", "purge", "slim"), "goes"),
    **dict.fromkeys(("refuse", "broken", "unreadable", "frozen", "pressure", "ledger"), "warn"),
    **dict.fromkeys(("shortfall", "diverged", "config"), "bad"),
    "recognised": "faint",
}


def overview(report: Report, now: datetime) -> list[Block]:
    """The whole report; ages count back from *now*."""
    strangers = [run for run in report.runs if not run.adopted]
    held = not_adopted(len(strangers), sum(run.bytes for run in strangers))
    trash = f"{counted(report.trash_items, 'checkpoint')}, {show_bytes(report.trash_bytes)}"
    notes = [
        *([f"{held}."] if held else []),
        *(
            [f"In the trash: {trash}; ckptd restore brings them back."]
            if report.trash_items
            else []
        ),
    ]
    disks = tuple(_disk(disk) for disk in report.disks)
    runs = tuple(_run(run, now) for run in report.runs)
    return [
        *([Block(_introduction(report.teller, now))] if report.teller else []),
        Block(columns=DISK_COLUMNS, rows=disks),
        Block(columns=RUN_COLUMNS, rows=runs, above=() if runs else ("No checkpoint was found.",)),
        Block(above=tuple(notes)),
        *_stands_aside("Could not be seen, or was passed over:", report.unreadable),
        *_stands_aside("Not understood, so the runs below are not touched:", report.frozen),
        *_last(report.events),
    ]


def _introduction(teller: Teller, now: datetime) -> str:
    watched = ", ".join(teller.watches) or "nothing"
    acts = "" if teller.mode == "enforce" else f", mode {teller.mode}: it touches nothing"
    looked = f"looked {_ago(teller.looked_at, now)}"
    return f"ckptd {teller.command} (pid {teller.pid}{acts}) on {watched}; {looked}"


def _disk(disk: DiskShown) -> Row:
    wanted = amount(disk.demand, disk.inodes_demand)
    missing = amount(disk.shortfall, disk.inodes_shortfall)
    state = [
        disk.state,
        *([f"must gain {wanted}"] if wanted else []),
        *([f"short by {missing}"] if missing else []),
        *([f"{show_bytes(disk.reserve)} for the next saves"] if disk.reserve else []),
        *_full_in(disk),
    ]
    cells = (disk.path, f"{disk.used_percent:.1f} %", show_bytes(disk.free), ", ".join(state))
    return Row(cells, "bad" if missing else DISK_TONES.get(disk.state, ""))


def _full_in(disk: DiskShown) -> Iterator[str]:
    """At the rate seen; the second is what no ckptd can put off."""
    if disk.full_in_seconds is not None:
        yield f"full in {show_duration(disk.full_in_seconds)} if nothing goes"
    if disk.spent_in_seconds is not None:
        yield f"in {show_duration(disk.spent_in_seconds)} even if all goes that may"


def _run(run: RunShown, now: datetime) -> Row:
    diverged = run.diverged_since is not None
    state = [
        run.format,
        *(["live"] if run.live else []),
        *(["finished"] if run.finished else []),
        *([f"diverged since step {run.diverged_since}"] if diverged else []),
        "adopted" if run.adopted else "not adopted",
        *([f"{run.goes} would go ({show_bytes(run.goes_bytes)})"] if run.goes else []),
    ]
    cells = (
        run.path,
        str(run.checkpoints),
        show_bytes(run.bytes),
        "" if run.newest_step is None else str(run.newest_step),
        "" if run.newest_at is None else _ago(run.newest_at, now),
        ", ".join(state),
    )
    return Row(cells, "bad" if diverged else "" if run.adopted else "faint")


def _stands_aside(heading: str, lost: Sequence[tuple[str, str]]) -> Iterator[Block]:
    if lost:
        yield Block(heading, tuple(f"  {path}: {error}" for path, error in lost), tone="warn")


def _last(events: Sequence[Happened]) -> Iterator[Block]:
    if events:
        rows = tuple(
            Row((f"  {_local(event.at)}", event.message), EVENT_TONES.get(event.event, ""))
            for event in events[-EVENTS:]
        )
        yield Block("Last:", columns=EVENT_COLUMNS, rows=rows)


def _ago(at: datetime, now: datetime) -> str:
    return f"{show_duration(max(0, int((now - at).total_seconds())))} ago"


def _local(at: datetime) -> str:
    try:
        return at.astimezone().replace(tzinfo=None).isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):  # a clock that was set to nowhere
        return at.replace(tzinfo=None).isoformat(" ", "seconds")
