"""How much of the machine one process holds, as it goes on."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

MIB = 2**20
BARS = " ▁▂▃▄▅▆▇█"


@dataclass
class Gauge:
    """Samples of one process: MiB, descriptors, threads and inotify watches."""

    pid: int
    samples: dict[str, list[float]] = field(default_factory=dict)

    def sample(self) -> None:
        """Nothing where the process has just ended."""
        try:
            seen = _seen(Path("/proc", str(self.pid)))
        except OSError:
            return
        for name, value in seen.items():
            self.samples.setdefault(name, []).append(value)

    def growth(self, name: str) -> float:
        """What it holds in its last quarter less what it held in its second, by the median."""
        values = self.samples[name]
        quarter = len(values) // 4
        return median(values[-quarter:]) - median(values[quarter : 2 * quarter])

    def curves(self, width: int = 60) -> list[str]:
        return [f"{name:12} {_curve(values, width)}" for name, values in self.samples.items()]


def _seen(proc: Path) -> dict[str, float]:
    fds = os.listdir(proc / "fd")
    watches = 0
    for fd in fds:
        try:
            watches += (proc / "fdinfo" / fd).read_text().count("inotify wd:")
        except OSError:
            continue  # closed meanwhile
    resident = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    threads = len(os.listdir(proc / "task"))
    return {"RSS (MiB)": resident / MIB, "descriptors": len(fds), "threads": threads} | {
        "watches": watches
    }


def _curve(values: list[float], width: int) -> str:
    """Peaks of as many spans as fit, from nothing to the highest."""
    step = max(1, len(values) // width)
    peaks = [max(values[at : at + step]) for at in range(0, len(values), step)]
    top = max(peaks) or 1
    bars = "".join(BARS[round(peak / top * (len(BARS) - 1))] for peak in peaks)
    return f"{min(values):6.1f} to {max(values):6.1f}  {bars}"
