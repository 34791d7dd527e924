"""What a service may do where it runs: `probe.py FILE OF-WHOM PID`, one JSON object of answers."""

import ctypes
import json
import os
import socket
import subprocess
import sys

from ckptd import beneath, disk, quota
from ckptd.beneath import as_owner, open_by_kernel, open_for, pinned


def main():
    file, uid, pid = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    beneath.ignore_lease_signals()
    above = os.path.dirname(file)
    top = os.open(above, os.O_RDONLY | os.O_DIRECTORY)
    fd = os.open(file, os.O_RDONLY)
    answers = {
        "openat2": lambda: open_by_kernel(top, ".") > 0,
        "lease": lambda: open_for(fd, write_only=False),
        "of_process": lambda: file in {os.readlink(f"/proc/{pid}/fd/{n}") for n in fds(pid)},
        "as_owner": lambda: made_by(uid, above),
        "pinned": lambda: pinned(fd),
        "group_stays": lambda: moved_with_its_group(above),
        "quota": lambda: len(quota.quotas(above, uid, uid)),
        "journalctl": last_entry,
        "mount": lambda: disk.measure(above).mount,
        "writes_usr": lambda: os.mkdir("/usr/probe"),
        "writes_etc": lambda: os.mkdir("/etc/probe"),
        "writes_proc": lambda: os.open("/proc/sys/vm/swappiness", os.O_WRONLY),
        "namespace": lambda: failing(ctypes.CDLL(None, use_errno=True).unshare(0x10000000)),
        "socket": lambda: bool(socket.socket()),
    }
    print(json.dumps({name: answered(ask) for name, ask in answers.items()}))


def last_entry():
    told = subprocess.run(["journalctl", "-n1", "-ojson"], check=True, capture_output=True)
    return len(told.stdout.splitlines())


def answered(ask):
    try:
        return ask()
    except OSError as error:
        return error.strerror


def failing(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def fds(pid):
    return os.listdir(f"/proc/{pid}/fd")


def made_by(uid, place):
    with as_owner(uid, uid):
        os.mkdir(f"{place}/made")
    return os.stat(f"{place}/made").st_uid


def moved_with_its_group(place):
    os.chmod(f"{place}/made", 0o2770)
    os.rename(f"{place}/made", f"{place}/moved")
    return oct(os.stat(f"{place}/moved").st_mode & 0o7777)


main()
