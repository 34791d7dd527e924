"""A service of ckptd in the box, as `ckptd install` puts it there, and people beside it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from box import DATA, Box, until
from corpus import write_checkpoint
from house import names
from installation import PROGRAM, Program, seen

SERVICE = "ckptd.service"
ROOMY = '[disk]\nhigh = "99.9%"\nlow = "99.8%"\nhard = "100%"\n'
STEPS = (10, 20, 30, 40, 50)
RUN = f"{DATA}/实验/检查点"
CONFIGURATION = "/etc/ckptd/ckptd.toml"


class Lab:
    """A run of five checkpoints, and the unit that `ckptd install` wrote, not started yet."""

    def __init__(self, box: Box, program: Program) -> None:
        self.box = box
        self.program = program
        self.run = seen(box, RUN)

    def begin(self) -> None:
        """Writes both."""
        save(self.run)
        self.program("install")

    def configure(self, policy: str, *watches: str) -> None:
        """*policy* for everything below *watches*, which is DATA when nothing is said."""
        told = "".join(f'[[watch]]\npath = "{w}"\nadopt = "all"\n' for w in watches or (DATA,))
        file = seen(self.box, CONFIGURATION)
        new = file.with_name("new")
        new.write_text(f"{told}{ROOMY}[policy]\nkeep_best = 0\n{policy}")
        new.rename(file)

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.box.run("systemctl", *words, SERVICE, check=check).stdout

    def property(self, name: str) -> str:
        return self.box.show(SERVICE, name)

    def told(self, event: str) -> list[dict[str, str]]:
        """What this start of the service has told of *event*."""
        start = f"_SYSTEMD_INVOCATION_ID={self.property('InvocationID')}"
        return self.box.journal(start, f"CKPTD_EVENT={event}")

    def left(self, *steps: int, run: Path | None = None) -> bool:
        """Waits until just these are left in the run."""
        wanted = {f"checkpoint-{step}" for step in steps}
        there = self.run if run is None else run
        assert until(lambda: names(there) == wanted, 20), self.systemctl("status", check=False)
        return True

    def remove(self) -> None:
        """Ends the service, and takes away all that belongs to it."""
        beside = [f"/etc/systemd/system/ckptd-apply.{kind}" for kind in ("service", "timer")]
        self.box.run("rm", "-rf", *beside, "/usr/local/lib/systemd/catalog")
        self.box.remove(SERVICE)
        own = ["/var/lib/ckptd", "/etc/ckptd", f"{DATA}/实验", f"{DATA}/.ckptd-trash"]
        self.box.run("rm", "-rf", *own)


class Person:
    """A user of the box."""

    def __init__(self, box: Box, name: str, uid: int) -> None:
        self.box, self.name, self.uid = box, name, uid
        self.home = f"/home/{name}"
        box.run("useradd", "--create-home", "--uid", uid, "--user-group", name)

    def run(self, *command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs *command* as this user, in a session of theirs."""
        rights = [f"--reuid={self.uid}", f"--regid={self.uid}", "--init-groups"]
        place = f"/run/user/{self.uid}"
        own = [f"HOME={self.home}", f"USER={self.name}", f"XDG_RUNTIME_DIR={place}"]
        bare = ["env", "--unset=PYTHONPATH", f"--chdir={self.home}", *own]
        return self.box.run("setpriv", *rights, *bare, *command, check=check)

    def ckptd(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(PROGRAM, *words, check=check)

    def save(self, run: str, *steps: int) -> Path:
        """Writes checkpoints of theirs into the *run* of the box; where that lies from here."""
        place = seen(self.box, run)
        save(place, *steps)
        self.box.run("chown", "-R", f"{self.uid}:{self.uid}", run)
        return place


def save(run: Path, *steps: int) -> None:
    """Checkpoints that were saved a while ago, one second after the other."""
    for step in steps or STEPS:
        write_checkpoint(run, step, mtime=time.time() - 1000 + step)
