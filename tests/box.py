"""A throw-away machine: a real systemd with its journald, on an overlay of this one's root.

Everything hangs on one process: its mounts lie in a namespace of their own, its disk is a file
that has no name any more, and the kernel kills it when this process dies, however that happens.
What a killed run leaves is an empty cgroup.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ckptd

DATA = "/data"  # in the box: a directory on a real ext4, where renames work
PATIENCE = 60.0
REPOSITORY = Path(__file__).parents[1]
UNIT = REPOSITORY / "systemd" / "ckptd.service"
_CODE = Path(ckptd.__file__).parents[1]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = (f"PATH={_PATH}", "HOME=/root", "LANG=C.UTF-8", f"PYTHONPATH={_CODE}")
_UNITS = "etc/systemd/system"
# What comes through here comes by the limit of the unit that said it, not by journald's own.
_JOURNALD = "[Journal]\nStorage=persistent\nRateLimitIntervalSec=30s\nRateLimitBurst=100\n"
_PLUG_IN = """\
set -eu
place=$1; shift
for cgroup in $CGROUPS; do echo 0 >"$cgroup/cgroup.procs"; done
mkdir "$place/disk" "$place/root"
truncate --size 4G "$place/disk.img"
mkfs.ext4 -q -F "$place/disk.img"
mount -o loop "$place/disk.img" "$place/disk"
rm "$place/disk.img"
cd "$place/disk"
mkdir upper work data
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay "$place/root"
cd "$place/root"
# No service of this machine's: only what systemd itself brings.
rm -rf etc/systemd/system/*.wants var/log/journal
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
mkdir -p etc/systemd/journald.conf.d etc/systemd/system-generators
for generator in systemd-sysv-generator $(ls usr/lib/systemd/system-generators); do
    case $generator in systemd-sysv-*) ;; systemd-*) continue ;; esac
    ln -sf /dev/null "etc/systemd/system-generators/$generator"
done
echo "$JOURNALD" >etc/systemd/journald.conf.d/90-box.conf
# 133 is how it says that the box wants to boot again.
again=133
while [ $again = 133 ]; do
    again=0
    systemd-nspawn "--directory=$place/root" "--bind=$place/disk/data:/data" "$@" || again=$?
done
exit $again
"""


def lacking() -> str:
    """Why no box can be booted here; empty when one can."""
    if os.geteuid() != 0:
        return "needs root: boots a systemd of its own"
    tools = ("systemd-nspawn", "mkfs.ext4", "nsenter", "unshare", "setpriv")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: systemd-container, e2fsprogs, util-linux)"
    return "" if os.path.exists("/dev/loop-control") else "needs loop devices"


class Box:
    """A running box; paths below `root` and `data` are its files, as seen from here.

    In the box `data` is DATA. The interpreter that runs this, and the ckptd that it imports, lie
    there where they lie here, and can only be read.
    """

    def __init__(self, machine: int, leader: int) -> None:
        self._machine = machine
        self._lead_by(leader)

    def _lead_by(self, leader: int) -> None:
        self.leader = leader
        self.root = Path(f"/proc/{leader}/root")
        self.data = self.root / DATA.lstrip("/")
        self._enter = ["nsenter", f"--target={leader}", "--all", "--", "env", "-i", *_ENVIRONMENT]

    def run(
        self, *command: object, check: bool = True, seconds: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Runs *command* in the box to its end."""
        ended = subprocess.run(
            [*self._enter, *map(str, command)],
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
        assert not check or ended.returncode == 0, (
            f"{command} ended with {ended.returncode}\n{ended.stdout}{ended.stderr}"
        )
        return ended

    def reboot(self, *how: str) -> None:
        """Reboots it (`--force` twice: as if the power failed). Its paths are others afterwards."""
        old = self.leader
        self.run("systemctl", "reboot", *how, check=False)
        leader = until(lambda: (new := _leader(self._machine)) != old and new)
        assert leader, "it did not come up again"
        self._lead_by(leader)
        assert until(self.is_up), "it did not boot again"

    def is_up(self) -> bool:
        """Whether it has booted."""
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def ckptd(self, *words: object) -> Any:
        """The document that `ckptd WORDS --json` prints in the box."""
        return json.loads(self.run(sys.executable, "-m", "ckptd", *words, "--json").stdout)

    def journal(self, *matches: str) -> list[dict[str, str]]:
        """The entries of the box's journal that fit, in its order."""
        options = ("--output=json", "--all", "--no-pager", "--quiet")
        lines = self.run("journalctl", *options, *matches).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def show(self, unit: str, what: str) -> str:
        """A property of *unit*, as `systemctl show` has it."""
        return self.run("systemctl", "show", unit, f"--property={what}", "--value").stdout.strip()

    def install(self, unit: str, text: str, **service: str) -> None:
        """A unit with *text*; *service* replaces settings of its [Service], by a drop-in."""
        (self.root / _UNITS / unit).write_text(text)
        self.override(unit, **service)

    def override(self, unit: str, **service: str) -> None:
        """Replaces what an earlier call of this replaced in *unit*."""
        drop_in = self.root / _UNITS / f"{unit}.d" / "box.conf"
        drop_in.parent.mkdir(exist_ok=True)
        # Of these a line adds to those before it, unless an empty one takes them away.
        empty = [f"{key}=" for key in service if key.startswith("Exec") or "Directory" in key]
        lines = [*empty, *(f"{key}={value}" for key, value in service.items())]
        environment = f"Environment=PYTHONPATH={_CODE}"
        drop_in.write_text("\n".join(["[Service]", environment, *lines, ""]))
        self.run("systemctl", "daemon-reload")

    def remove(self, unit: str) -> None:
        """Ends *unit*, and takes it away with what it remembers."""
        self.run("systemctl", "disable", "--now", unit, check=False)
        self.run("systemctl", "reset-failed", unit, check=False)
        (self.root / _UNITS / unit).unlink(missing_ok=True)
        shutil.rmtree(self.root / _UNITS / f"{unit}.d", ignore_errors=True)
        self.run("systemctl", "daemon-reload")


@contextmanager
def booted(place: Path) -> Iterator[Box]:
    """A box whose mount points lie in the empty directory *place*; at the end it is gone."""
    with _cgroups() as cgroups, open(place / "console", "wb") as console:
        machine = subprocess.Popen(
            _command(place),
            env=os.environ | {"CGROUPS": " ".join(cgroups), "JOURNALD": _JOURNALD},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,  # a Ctrl-C is ours to hear
        )
        try:
            yield _when_up(machine, place / "console")
        finally:
            machine.kill()  # nothing in it is worth an orderly end
            machine.wait()


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What *true* gave once it was so, or the last that it gave within *seconds*."""
    end = time.monotonic() + seconds
    while not (came := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return came


def _command(place: Path) -> list[str]:
    options = ["--boot", "--quiet", "--register=no", "--keep-unit", "--private-users=no"]
    options += ["--private-network", "--console=pipe", "--resolv-conf=off", "--timezone=off"]
    options += [f"--machine=box{os.getpid()}"]
    escaped = (str(seen).replace("\\", "\\\\").replace(":", "\\:") for seen in _to_see())
    options += [f"--bind-ro={path}" for path in escaped]
    # Process 1 of nspawn's does not die with nspawn; that of the namespace around both does.
    alone = ["unshare", "--mount", "--propagation=private", "--pid", "--kill-child", "--mount-proc"]
    return ["setpriv", "--pdeathsig=KILL", *alone, "sh", "-c", _PLUG_IN, "sh", str(place), *options]


def _to_see() -> list[Path]:
    """What the code under test needs; some of it may lie on mounts, or where a box has its own."""
    wanted = {_CODE, REPOSITORY / "tests", Path(sys.prefix), Path(sys.base_prefix)}
    return sorted(place for place in wanted if not place.is_relative_to("/usr"))


def _when_up(machine: subprocess.Popen[bytes], console: Path) -> Box:
    leader = until(lambda: machine.poll() is None and _leader(machine.pid))
    box = Box(machine.pid, leader) if leader else None
    if box and until(lambda: machine.poll() is not None or box.is_up()) and machine.poll() is None:
        return box
    raise RuntimeError(f"the box did not boot:\n{console.read_text(errors='replace')[-4000:]}")


def _leader(machine: int) -> int | None:
    """Process 1 of the box: the first in the innermost namespace, below a shell and nspawn."""
    parents, firsts = {}, []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            words = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:  # it has ended
            continue
        pid = int(status.parent.name)
        parents[pid] = int(words["PPid"])
        if words["NSpid"].split()[2:] == ["1"]:
            firsts.append(pid)
    above = {pid: parents.get(parents.get(parents[pid], 0)) for pid in firsts}
    return next((pid for pid in firsts if above[pid] == machine), None)


@contextmanager
def _cgroups() -> Iterator[Sequence[str]]:
    """A cgroup of the box's own in each hierarchy that systemd uses; the same name in both."""
    name = f"ckptd-box-{os.getpid()}-{time.monotonic_ns()}"
    mounts = {"name=systemd": "/sys/fs/cgroup/systemd", "": "/sys/fs/cgroup/unified"}
    made = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, ours = line.split(":", 2)
        mount = mounts.get(controllers)
        if controllers == "" and not os.path.isdir(str(mount)):
            mount = "/sys/fs/cgroup"  # there is no other hierarchy
        if mount and os.path.isdir(mount + ours):
            made.append(f"{mount}{ours.rstrip('/')}/{name}")
            os.mkdir(made[-1])
    try:
        yield made
    finally:
        for top in made:
            assert until(lambda top=top: cgroup_removed(top), 10), f"{top} is still used"


def cgroup_removed(top: str) -> bool:
    """Whether the cgroup *top* is gone, with all below it."""
    with suppress(OSError):  # what was killed has not ended yet
        for place, _, _ in os.walk(top, topdown=False):
            os.rmdir(place)
    return not os.path.exists(top)
