"""Small real filesystems, each mounted in a directory of its own and always unmounted."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
_CLONE_NEWNS = 0x20000
_ROOMY = 3 * 2**30  # what all contenders' images take at most, written to the last block
_SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Room:
    """Bytes and inodes that can be written on an empty disk; 0 inodes: as many as bytes allow."""

    bytes: int
    inodes: int


@dataclass(frozen=True)
class Disk:
    """A mounted filesystem and the room that it had when it was empty."""

    path: Path
    room: Room

    def used(self) -> float:
        """The share of the room in use: of bytes or of inodes, whichever is greater."""
        now = room_at(self.path)
        shares = [1 - now.bytes / self.room.bytes]
        if self.room.inodes:
            shares.append(1 - now.inodes / self.room.inodes)
        return max(shares)


def room_at(path: Path) -> Room:
    said = os.statvfs(path)
    return Room(said.f_bavail * said.f_frsize, said.f_favail)


def in_own_namespace() -> None:
    """From now on this process's mounts are its own: they vanish with it, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "no mount namespace of one's own")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def image_directory() -> Path:
    """Where images lie: in memory where there is room, so that no real disk sets the pace."""
    if _SHM.is_dir() and shutil.disk_usage(_SHM).free > _ROOMY:
        return _SHM
    return Path(tempfile.gettempdir())


@contextmanager
def mounted(kind: str, size: int, images: Path, inodes: int | None = None) -> Iterator[Disk]:
    """An empty filesystem of *size* bytes; with *inodes* at most so many of them.

    Nothing is set aside for root, as on a disk whose trainings are not root's.
    """
    with tempfile.TemporaryDirectory(prefix="survival-", dir=images) as place:
        point = Path(place, "disk")
        point.mkdir()
        _mount(kind, size, Path(place, "image"), point, inodes)
        try:
            room = room_at(point)
            yield Disk(point, room if kind != "xfs" else Room(room.bytes, 0))
        finally:
            _unmount(point)


def _mount(kind: str, size: int, image: Path, point: Path, inodes: int | None) -> None:
    if kind == "tmpfs":
        options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", point], check=True)
        return
    with open(image, "xb") as file:
        file.truncate(size)
    subprocess.run([*_made(kind, inodes), image], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)


def _made(kind: str, inodes: int | None) -> list[str]:
    if kind == "xfs":
        return ["mkfs.xfs", "-q", "-f"]
    return ["mkfs.ext4", "-q", "-F", "-m", "0", *(["-N", str(inodes)] if inodes else [])]


def _unmount(point: Path) -> None:
    """A process that has just been killed may hold it for a moment."""
    for _ in range(20):
        if (
            subprocess.run(["umount", point], check=False, stderr=subprocess.DEVNULL).returncode
            == 0
        ):
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", point], check=True)
