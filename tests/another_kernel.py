"""Runs a command under a Linux kernel that can more than the one below: User-mode Linux.

It is a process like any other, sees the same files, and needs no root. Debian has it as
`user-mode-linux`.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

LINUX = shutil.which("linux.uml")
MODULES = ("drivers/block/loop", "fs/overlayfs/overlay", "fs/quota/quota_tree", "fs/quota/quota_v2")
FINIT_MODULE = 313  # on x86-64: Debian has User-mode Linux for no other
POWER_OFF = 0x4321FEDC


def run(command, place, *, timeout):
    """Exit status and output of *command*, as that kernel's root; *place* is an empty directory."""
    modules = next(Path(LINUX).resolve().parents[1].glob("lib/uml/modules/*/kernel"))
    task = {"command": command, "environment": dict(os.environ), "modules": str(modules)}
    (place / "task").write_text(json.dumps(task))
    kernel = [LINUX, "mem=768M", f"uml_dir={place}", "umid=kernel", "quiet", "con=null"]
    kernel += ["con0=null,fd:1", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw"]
    done = subprocess.run(
        [*kernel, f"init={sys.executable}", "--", __file__, str(place)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    status = place / "status"
    returned = int(status.read_text()) if status.exists() else None
    return returned, done.stdout.decode(errors="replace")


def first_process(place):
    """What that kernel starts first: it makes /proc and the modules ready for the command."""
    task = json.loads((place / "task").read_text())
    for kind, point in (("proc", "/proc"), ("sysfs", "/sys")):
        subprocess.run(["/bin/mount", "-t", kind, kind, point], check=True)
    for name in MODULES:
        load(f"{task['modules']}/{name}.ko")
    done = subprocess.run(task["command"], env=task["environment"], check=False)
    (place / "status").write_text(str(done.returncode))


def load(module):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(module, "rb") as file:
        if libc.syscall(FINIT_MODULE, file.fileno(), b"", 0):
            raise OSError(ctypes.get_errno(), f"cannot load {module}")


if __name__ == "__main__":
    try:
        first_process(Path(sys.argv[1]))
    finally:
        sys.stdout.flush()
        ctypes.CDLL(None).reboot(POWER_OFF)
