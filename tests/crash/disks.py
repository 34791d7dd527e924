"""Small real filesystems on images, and copies of an image as a power cut would leave it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20
MAKE = {
    "ext4": (24 * MIB, ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
    "xfs": (310 * MIB, ["mkfs.xfs", "-q", "-f"]),
}


def made(fstype: str, image: Path) -> None:
    size, command = MAKE[fstype]
    image.touch()
    os.truncate(image, size)
    subprocess.run([*command, image], check=True)


def as_the_power_fails(image: Path, copy: Path) -> None:
    """What the device holds at this moment; what only the page cache knows is not in it."""
    subprocess.run(["cp", "--sparse=always", "--reflink=never", image, copy], check=True)


@contextmanager
def mounted(fstype: str, image: Path, point: Path) -> Iterator[None]:
    """The filesystem in *image*, its journal played back, at *point*.

    Writes go to the image directly: it is what a disk holds, and no cache of ours is in between.
    """
    point.mkdir(exist_ok=True)
    attach = ["losetup", "--find", "--show", "--direct-io=on", image]
    loop = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    try:
        options = "nouuid" if fstype == "xfs" else "defaults"
        subprocess.run(["mount", "-t", fstype, "-o", options, loop, point], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", point], check=True)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)


def missing(fstype: str) -> str | None:
    """Why no such filesystem can be made here."""
    if os.geteuid() != 0:
        return "mounting a small filesystem needs root"
    tool = MAKE[fstype][1][0]
    return None if shutil.which(tool) else f"{tool} is not installed"
