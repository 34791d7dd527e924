"""What tests of `check` share: small filesystems, runs on them, and what was said."""

import os
import subprocess
import time
from contextlib import contextmanager

import pytest
from corpus import write_checkpoint

MIB = 2**20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")


@contextmanager
def mounted(point, options):
    """A tmpfs with these mount *options* at *point*."""
    point.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(point)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no mount allowed here: {done.stderr.decode().strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def write_run(place, count=4, size=MIB):
    """*count* saves of about 3 x *size*, the last an hour ago."""
    for nth in range(count):
        at = time.time() - 3600 * (count - nth)
        write_checkpoint(place, 50 * (nth + 1), size=size, mtime=at)
    return place


def found(answer):
    """States by name; where several watches were checked, the last one's."""
    return {check["name"]: check["state"] for check in answer.document["checks"]}


def text(answer, name):
    return next(c["text"] for c in answer.document["checks"] if c["name"] == name)
