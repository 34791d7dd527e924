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

import seccomp

LINUX = shutil.which("linux.uml")
MODULES = ("drivers/block/loop", "fs/overlayfs/overlay", "fs/quota/quota_tree", "fs/quota/quota_v2")
FINIT_MODULE = 313  # on x86-64: Debian has User-mode Linux for no other
POWER_OFF = 0x4321FEDC
# Of <asm/unistd_64.h>, <linux/ptrace.h> and <linux/elf.h>.
PTRACE, GETREGSET, XSTATE = 101, 0x4204, 0x202
EIO = 5
WITHOUT_AVX = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX,-AVX_Fast_Unaligned_Load"


def run(command, place, *, timeout):
    """Exit status and output of *command*, as that kernel's root; *place* is an empty directory."""
    modules = next(Path(LINUX).resolve().parents[1].glob("lib/uml/modules/*/kernel"))
    task = {
        "command": command,
        "environment": {**os.environ, "GLIBC_TUNABLES": WITHOUT_AVX},
        "modules": str(modules),
    }
    (place / "task").write_text(json.dumps(task))
    kernel = [LINUX, "mem=768M", f"uml_dir={place}", "umid=kernel", "quiet", "con=null"]
    kernel += [f"GLIBC_TUNABLES={WITHOUT_AVX}"]
    kernel += ["con0=null,fd:1", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw"]
    done = subprocess.run(
        [*kernel, f"init={sys.executable}", "--", __file__, str(place)],
        preexec_fn=_without_xstate,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    status = place / "status"
    returned = int(status.read_text()) if status.exists() else None
    return returned, done.stdout.decode(errors="replace")


def _without_xstate():
    """Asks the kernel below as if it knew no extended state of a processor.

    User-mode Linux 6.1 has room for what processors had then. On one with AMX it reads a part of
    the state, and dies when it writes that back. So it is to read and write the older, fixed one;
    that has no room for AVX, which therefore must not be used above it.
    """
    seccomp.install(
        [
            (seccomp.LOAD, 0, 0, seccomp.NUMBER),
            (seccomp.EQUALS, 0, 5, PTRACE),
            (seccomp.LOAD, 0, 0, seccomp.argument(0)),
            (seccomp.EQUALS, 0, 3, GETREGSET),
            (seccomp.LOAD, 0, 0, seccomp.argument(2)),
            (seccomp.EQUALS, 0, 1, XSTATE),
            (seccomp.RETURN, 0, 0, seccomp.FAIL + EIO),
            (seccomp.RETURN, 0, 0, seccomp.ALLOW),
        ]
    )


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
