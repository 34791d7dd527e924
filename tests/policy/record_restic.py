"""Records what a real restic keeps, for test_as_restic.py to hold our rules against.

    python tests/policy/record_restic.py > tests/data/restic-forget.json

Run by hand, with restic 0.18 on the PATH (older ones do not keep the oldest snapshot while slots
are left). For each series it backs one small file up at each moment, into a repository of its
own, then asks `restic forget --dry-run --json` under each policy. Nothing in the file comes from
restic's own tests. Two zones, because days and months are counted by the clock on the wall.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

# The same rules as a POSIX text: a test needs no time zone database for it.
ZONES = {
    "Europe/Berlin": "CET-1CEST,M3.5.0,M10.5.0/3",
    "America/New_York": "EST5EDT,M3.2.0,M11.1.0",
}
COUNTS = ["keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"]
SPANS = "1h 2h 23h 24h 1d 2d 7d 13d23h 1month 1month14d 2month2h 1y 1y1d1month 1y2month3d3h 8y"
POLICIES = [
    *({key: count} for key in COUNTS for count in (1, 3, 7, 20, "unlimited")),
    *({"keep_within": span} for span in SPANS.split()),
    {"keep_daily": 7, "keep_weekly": 2, "keep_monthly": 3, "keep_yearly": 10},
    {"keep_last": 2, "keep_hourly": 5, "keep_daily": 5},
    {"keep_last": 5, "keep_weekly": 60, "keep_within": "2d"},
    {"keep_monthly": "unlimited", "keep_yearly": 2, "keep_within": "1month"},
    {"keep_daily": 1000, "keep_hourly": 1},
]
GAPS = [{"keep_within": span} for span in ("4d", "7d", "25d", "152d", "158d")]


def moments_of(newest):
    """Clusters, equal seconds, and the borders of days, weeks, months, years and daylight time."""
    bounds = [timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=28)]
    second, hour = timedelta(seconds=1), timedelta(hours=1)
    texts = """
        2018-01-01T00:00 2018-07-14T12:00 2019-12-29T12:00 2019-12-30T00:30 2019-12-31T22:59:59
        2019-12-31T23:00 2020-01-01T04:59:59 2020-01-01T05:00 2020-12-31T12:00 2021-01-03T22:30
        2021-01-03T23:30 2021-01-04T05:30 2022-06-30T21:59 2022-06-30T22:00 2022-07-01T04:00
        2023-01-31T12:00 2023-02-28T12:00 2023-12-31T23:30 2024-02-29T12:00 2024-03-01T12:00
        2024-12-29T23:30 2024-12-30T04:30 2024-12-30T05:30 2025-01-27T07:00 2025-01-28T07:00
        2025-01-28T08:00 2025-03-09T06:30 2025-03-09T07:00 2025-03-09T07:30 2025-03-30T00:30
        2025-03-30T01:00 2025-03-30T01:30 2025-10-26T00:00 2025-10-26T00:30 2025-10-26T01:00
        2025-10-26T01:30 2025-10-26T02:00 2025-11-02T05:00 2025-11-02T05:30 2025-11-02T06:00
        2025-11-02T06:30 2025-11-02T07:00 2026-01-29T09:00 2026-01-31T09:00 2026-03-03T10:00
        2026-03-03T10:59:59 2026-03-03T11:00 2026-03-03T11:00:01 2026-03-24T10:00
        2026-03-24T10:59:59 2026-03-24T11:00 2026-03-24T11:00:01 2026-03-31T08:00
    """
    named = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts.split()]
    cluster = [newest - timedelta(minutes=10 * each) for each in range(20)]
    equal = [newest - timedelta(days=3, hours=2)] * 5
    edges = [newest - bound + by for bound in bounds for by in (-second, 0 * second, second)]
    daily = [newest - timedelta(days=each) - hour for each in range(2, 12)]
    return sorted([*named, *cluster, *equal, *edges, *daily])


def around(newest, zone, wall):
    """The hours about a time of *wall* that *zone* does not have, or has twice."""
    bound = datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    half = timedelta(minutes=30)
    steps = [bound + half * each for each in range(-4, 5)]
    near = [step + timedelta(seconds=1) for step in steps]
    return sorted([*steps, *near, newest])


def local(zone, wall):
    return datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def series():
    newest = datetime(2026, 3, 31, 10, tzinfo=UTC)
    berlin, york = ZONES
    for zone in ZONES:
        yield zone, moments_of(newest), POLICIES
    for zone, last, wall in (
        (berlin, "2026-04-02T02:30", "2026-03-29T02:30"),  # 4 days back there is no 2:30
        (berlin, "2026-04-02T02:30", "2025-10-26T02:30"),  # 158 days back there are two
        (york, "2026-04-02T02:30", "2026-03-08T02:30"),  # 25 days back there is none
        (york, "2026-04-03T01:30", "2025-11-02T01:30"),  # 152 days back there are two
    ):
        yield zone, around(local(zone, last), zone, wall), GAPS


def main():
    found = []
    for zone, moments, policies in series():
        with tempfile.TemporaryDirectory() as place:
            restic = Restic(place, zone)
            for moment in moments:
                restic.back_up(moment)
            cases = [{"policy": each, "kept": restic.kept(each, moments)} for each in policies]
        texts = [moment.isoformat() for moment in moments]
        found.append({"zone": zone, "tz": ZONES[zone], "moments": texts, "cases": cases})
    version = subprocess.run(["restic", "version"], check=True, capture_output=True, text=True)
    print(show({"restic": version.stdout.strip(), "series": found}))


class Restic:
    """A repository, and the restic that works in it by the clock of a zone."""

    def __init__(self, place, zone):
        self._zone = zone
        self._file = Path(place, "file")
        self._file.write_text("a")
        self._repository = os.path.join(place, "repository")
        self._run(zone, "init")

    def back_up(self, moment):
        hours = -moment.astimezone(ZoneInfo(self._zone)).utcoffset() // timedelta(hours=1)
        wall = moment.astimezone(ZoneInfo(self._zone)).strftime("%Y-%m-%d %H:%M:%S")
        # A zone of one offset, so that an hour that comes twice is the one that is meant.
        self._run(f"Etc/GMT{hours:+}", "backup", "--host=h", f"--time={wall}", str(self._file))

    def kept(self, policy, moments):
        """Indices of the moments that are kept; of equal ones the last."""
        options = [_option(key, value) for key, value in policy.items()]
        out = self._run(self._zone, "forget", "--dry-run", "--json", *options)
        (group,) = json.loads(out)
        kept = Counter(datetime.fromisoformat(each["time"]) for each in group["keep"])
        gone = Counter(datetime.fromisoformat(each["time"]) for each in group["remove"] or ())
        assert kept + gone == Counter(moments)
        indices = []
        for index in reversed(range(len(moments))):
            if kept[moments[index]]:
                kept[moments[index]] -= 1
                indices.append(index)
        return indices[::-1]

    def _run(self, zone, *words):
        environment = os.environ | {"TZ": zone, "RESTIC_PASSWORD": "x"}
        command = ["restic", "--no-cache", "--quiet", f"--repo={self._repository}", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout


def _option(key, value):
    return f"--{key.replace('_', '-')}={str(value).replace('month', 'm')}"


def show(document):
    """One case a line: a difference can be read."""
    lines = []
    for one in document["series"]:
        head = {key: value for key, value in one.items() if key != "cases"}
        cases = ",\n".join(json.dumps(case) for case in one["cases"])
        lines.append(f'{json.dumps(head)[:-1]}, "cases": [\n{cases}]}}')
    joined = ",\n".join(lines)
    return f'{{"restic": {json.dumps(document["restic"])}, "series": [\n{joined}]}}'


if __name__ == "__main__":
    main()
