"""A filesystem that stops answering when it is told to: FUSE's own protocol, spoken in Python.

It shows a directory beneath another name. As a program it is the server; `Hanging` starts it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import stat
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

FSTYPE = "fuse.hanging"
# linux/fuse.h
OPCODES = {
    "LOOKUP": 1, "FORGET": 2, "GETATTR": 3, "SETATTR": 4, "READLINK": 5, "SYMLINK": 6,
    "MKDIR": 9, "UNLINK": 10, "RMDIR": 11, "RENAME": 12, "LINK": 13, "OPEN": 14, "READ": 15,
    "WRITE": 16, "STATFS": 17, "RELEASE": 18, "FSYNC": 20, "INIT": 26, "OPENDIR": 27,
    "READDIR": 28, "RELEASEDIR": 29, "FSYNCDIR": 30, "CREATE": 35, "INTERRUPT": 36,
    "BATCH_FORGET": 42, "RENAME2": 45,
}  # fmt: skip
NAMES = {number: name for name, number in OPCODES.items()}
UNANSWERED = {"FORGET", "BATCH_FORGET", "INTERRUPT"}
IN = struct.Struct("<IIQQIIIHH")
OUT = struct.Struct("<IiQ")
ATTR = struct.Struct("<6Q10I")
SETATTR = struct.Struct("<2I6Q8I")
LARGEST = 2**17


class Server:
    """Answers, but not what `held` names: that waits until it is named no more."""

    def __init__(self, fd, backing, told):
        self.fd = fd
        self.told = told  # names of what is held back, one word each
        self.paths = {1: str(backing)}
        self.numbers = {str(backing): 1}
        self.waiting = []

    def serve(self):
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while True:
            held = self.told.read_text().split()
            for request in [r for r in self.waiting if NAMES.get(r[1]) not in held]:
                self.waiting.remove(request)
                self.answer(*request)
            if not poll.poll(20):
                continue
            try:
                raw = os.read(self.fd, LARGEST + 8192)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted, or the connection was aborted
                    return
                if error.errno not in {errno.ENOENT, errno.EINTR, errno.EAGAIN}:
                    raise
                continue
            _, opcode, unique, node, uid, gid, *_ = IN.unpack_from(raw)
            request = (unique, opcode, node, raw[IN.size :], (uid, gid))
            held = self.told.read_text().split()  # it may have been told while nobody asked
            if NAMES.get(opcode) in held:
                self.waiting.append(request)
            else:
                self.answer(*request)

    def answer(self, unique, opcode, node, body, who):
        name = NAMES.get(opcode, "")
        method = getattr(self, name.lower(), self.strange)
        if name in UNANSWERED:
            return
        try:
            data, code = method(self.paths.get(node, ""), body, who), 0
        except OSError as error:
            data, code = b"", -error.errno
        with suppress(OSError):  # who asked was killed meanwhile
            os.write(self.fd, OUT.pack(OUT.size + len(data), code, unique) + data)

    def strange(self, path, body, who):
        raise OSError(errno.ENOSYS, path)

    def init(self, path, body, who):
        return struct.pack("<4I2H2I2H8I", 7, 31, 65536, 0, 16, 12, LARGEST, 1, 32, 0, *[0] * 8)

    def entry(self, path):
        seen = attributes(path)
        number = self.numbers.setdefault(path, len(self.numbers) + 1)
        self.paths[number] = path
        return struct.pack("<4Q2I", number, 0, 0, 0, 0, 0) + seen

    def moved(self, old, new):
        for path, number in list(self.numbers.items()):
            if path == old or path.startswith(f"{old}/"):
                del self.numbers[path]
                self.numbers[new + path[len(old) :]] = number
                self.paths[number] = new + path[len(old) :]

    def lookup(self, path, body, who):
        return self.entry(below(path, body))

    def getattr(self, path, body, who):
        return struct.pack("<QII", 0, 0, 0) + attributes(path)

    def setattr(self, path, body, who):
        valid, _, _, size, _, at, mt, _, atn, mtn, _, mode, _, uid, gid, _ = SETATTR.unpack(body)
        if valid & 6:
            os.chown(path, uid if valid & 2 else -1, gid if valid & 4 else -1)
        if valid & 1:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & 8:
            os.truncate(path, size)
        if valid & 48:
            seen, now = os.lstat(path), time.time_ns()
            atime = now if valid & 128 else at * 10**9 + atn if valid & 16 else seen.st_atime_ns
            mtime = now if valid & 256 else mt * 10**9 + mtn if valid & 32 else seen.st_mtime_ns
            os.utime(path, ns=(atime, mtime))
        return self.getattr(path, body, who)

    def readlink(self, path, body, who):
        return os.fsencode(os.readlink(path))

    def symlink(self, path, body, who):
        name, target = body.split(b"\0")[:2]
        os.symlink(os.fsdecode(target), below(path, name))
        return self.entry(below(path, name))

    def mkdir(self, path, body, who):
        made = below(path, body[8:])
        os.mkdir(made, struct.unpack_from("<I", body)[0])
        os.chown(made, *who)
        return self.entry(made)

    def unlink(self, path, body, who):
        os.unlink(below(path, body))
        self.numbers.pop(below(path, body), None)
        return b""

    def rmdir(self, path, body, who):
        os.rmdir(below(path, body))
        self.numbers.pop(below(path, body), None)
        return b""

    def rename(self, path, body, who):
        return self._rename(path, struct.unpack_from("<Q", body)[0], 0, body[8:])

    def rename2(self, path, body, who):
        return self._rename(path, *struct.unpack_from("<QI", body), body[16:])

    def _rename(self, path, directory, flags, names):
        old, new = names.split(b"\0")[:2]
        source, target = below(path, old), below(self.paths[directory], new)
        if flags & 1 and os.path.lexists(target):
            raise OSError(errno.EEXIST, target)
        os.rename(source, target)
        self.moved(source, target)
        return b""

    def open(self, path, body, who):
        flags = struct.unpack_from("<I", body)[0] & ~(os.O_CREAT | os.O_EXCL)
        return struct.pack("<QIi", os.open(path, flags), 0, 0)

    def create(self, path, body, who):
        flags, mode = struct.unpack_from("<II", body)
        made = below(path, body[16:])
        fd = os.open(made, flags | os.O_CREAT, mode)
        os.fchown(fd, *who)
        return self.entry(made) + struct.pack("<QIi", fd, 0, 0)

    def read(self, path, body, who):
        fd, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(fd, size, offset)

    def write(self, path, body, who):
        fd, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(fd, body[40 : 40 + size], offset), 0)

    def statfs(self, path, body, who):
        room = os.statvfs(self.paths[1])
        counts = (room.f_blocks, room.f_bfree, room.f_bavail, room.f_files, room.f_ffree)
        return struct.pack("<5Q10I", *counts, room.f_bsize, 255, room.f_frsize, *[0] * 7)

    def release(self, path, body, who):
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def fsync(self, path, body, who):
        os.fsync(struct.unpack_from("<Q", body)[0])
        return b""

    def opendir(self, path, body, who):
        return struct.pack("<QIi", os.open(path, os.O_RDONLY | os.O_DIRECTORY), 0, 0)

    def readdir(self, path, body, who):
        _, offset, size = struct.unpack_from("<QQI", body)
        told = b""
        for number, name in enumerate([".", "..", *sorted(os.listdir(path))]):
            raw = os.fsencode(name)
            one = struct.pack("<QQII", 1, number + 1, len(raw), 0) + raw
            one += bytes(-len(one) % 8)
            if number >= offset and len(told) + len(one) <= size:
                told += one
            elif number >= offset:
                break
        return told

    releasedir = release
    fsyncdir = fsync


def below(path, name):
    return os.path.join(path, os.fsdecode(name.split(b"\0")[0]))


def attributes(path):
    seen = os.lstat(path)
    times = (seen.st_atime_ns, seen.st_mtime_ns, seen.st_ctime_ns)
    return ATTR.pack(
        seen.st_ino,
        seen.st_size,
        seen.st_blocks,
        *(t // 10**9 for t in times),
        *(t % 10**9 for t in times),
        seen.st_mode,
        seen.st_nlink,
        seen.st_uid,
        seen.st_gid,
        0,
        4096,
        0,
    )


def main(backing, point, told):
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: whoever started it and is killed ends it
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    kind = FSTYPE.encode()
    if libc.mount(b"hanging", os.fsencode(point), kind, 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    Server(fd, backing, Path(told)).serve()


class Hanging:
    """Such a filesystem at `path`, which shows `backing`. It answers until it is told not to."""

    def __init__(self, place):
        self.backing, self.path, self._told = place / "backing", place / "hanging", place / "told"
        self.backing.mkdir(parents=True)
        self.path.mkdir()
        self._told.write_text("")
        command = [sys.executable, __file__, self.backing, self.path, self._told]
        self._server = subprocess.Popen([str(word) for word in command])
        end = time.monotonic() + 30
        while not os.path.ismount(self.path):
            assert time.monotonic() < end
            assert self._server.poll() is None
            time.sleep(0.01)

    def hold(self, *opcodes):
        """From now on these are not answered (`GETATTR`); with none, everything is again."""
        self._told.write_text(" ".join(opcodes))

    def stop(self):
        """Nothing is even read any more, as if its server had died."""
        self._server.send_signal(signal.SIGSTOP)

    def go_on(self):
        """It answers again, also what was asked meanwhile."""
        self.hold()
        self._server.send_signal(signal.SIGCONT)

    def end(self):
        """Whoever waits for it gets an error, and it is gone."""
        self._server.kill()  # nobody else has its descriptor, so that aborts the connection
        self._server.wait()
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextmanager
def hanging(place):
    """A `Hanging` in the directory *place*, ended whatever happens."""
    filesystem = Hanging(place)
    try:
        yield filesystem
    finally:
        filesystem.end()


def lacking():
    """Why there can be none here; empty when there can."""
    if os.geteuid() != 0:
        return "mounts need root"
    return "" if os.path.exists("/dev/fuse") else "needs /dev/fuse"


if __name__ == "__main__":
    main(*sys.argv[1:])
