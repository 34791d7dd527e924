"""Stops a process at the n-th system call by which it changes anything: kills it, or fails it.

The process is a fork of this one, so that nothing is imported anew, and the kernel stops it: a
seccomp filter names the calls, and ptrace says each of them before it is carried out. Nothing of
the program under test is patched. Its threads are followed: where the machine has a network
filesystem, or one of FUSE, what may hang is asked in one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import seccomp

# Of <asm/unistd_64.h>; what changes a file, a directory, or what of them is on the disk. No locks:
# they end with their process, so a stop at one is a stop at the change that follows.
CALLS = {
    "write": 1,
    "open": 2,
    "pwrite64": 18,
    "writev": 20,
    "msync": 26,
    "fsync": 74,
    "fdatasync": 75,
    "truncate": 76,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "creat": 85,
    "link": 86,
    "unlink": 87,
    "symlink": 88,
    "chmod": 90,
    "fchmod": 91,
    "chown": 92,
    "fchown": 93,
    "lchown": 94,
    "utime": 132,
    "setxattr": 188,
    "lsetxattr": 189,
    "fsetxattr": 190,
    "removexattr": 197,
    "lremovexattr": 198,
    "fremovexattr": 199,
    "utimes": 235,
    "openat": 257,
    "mkdirat": 258,
    "fchownat": 260,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "symlinkat": 266,
    "fchmodat": 268,
    "utimensat": 280,
    "fallocate": 285,
    "renameat2": 316,
    "copy_file_range": 326,
}
NAMES = {number: name for name, number in CALLS.items()}
MAKES = os.O_CREAT | os.O_TRUNC

needs_ptrace = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the calls are numbered for x86_64 here"
)

_PTRACE_TRACEME, _PTRACE_CONT, _PTRACE_GETREGS, _PTRACE_SETREGS = 0, 7, 12, 13
_PTRACE_SETOPTIONS, _PTRACE_GET_SYSCALL_INFO = 0x4200, 0x420E
_TRACECLONE, _TRACESECCOMP, _EXITKILL = 0x8, 0x80, 0x100000
_WALL = 0x40000000  # threads too
_CLONE_STOP, _SECCOMP_STOP = (signal.SIGTRAP | event << 8 for event in (3, 7))
_INFO = struct.Struct("<B3xI2QQ6Q")
_RAX, _ORIG_RAX = 10, 15  # places in user_regs_struct

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


@dataclass
class Came:
    """What came of one try: `calls` that were reached, and how the process ended."""

    status: int
    calls: list[str] = field(default_factory=list)
    said: str = ""

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    @property
    def exit_status(self) -> int | None:
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None


def killed_at(nth: int | str | tuple[str, ...], act: Callable[[], None]) -> Came:
    """*act* in a process that dies by SIGKILL where its *nth* change (from 1) would begin.

    Or the first change of that name, or the last of several that follow each other.
    """
    calls: list[str] = []
    wanted = (nth,) if isinstance(nth, str) else nth

    def kill(pid: int, number: int) -> None:
        if number == wanted or (isinstance(wanted, tuple) and (*calls,)[-len(wanted) :] == wanted):
            os.kill(pid, signal.SIGKILL)

    return _traced(act, kill, calls)


def failed_from(nth: int, error: int, act: Callable[[], None], *, last: int | None = None) -> Came:
    """*act* in a process whose changes from the *nth* to the *last* one fail with *error*."""

    def fail(pid: int, number: int) -> None:
        if nth <= number <= (number if last is None else last):
            _answer(pid, -error)

    return _traced(act, fail)


def paused_at_each(act: Callable[[], None], look: Callable[[int, str], None]) -> Came:
    """*act* to its end; *look* is called with each change's number and name before it is made."""
    calls: list[str] = []
    return _traced(act, lambda pid, number: look(number, calls[-1]), calls)


def _traced(
    act: Callable[[], None], at: Callable[[int, int], object], calls: list[str] | None = None
) -> Came:
    pid, out = _begun(act)
    came = Came(0, [] if calls is None else calls)
    known = {pid}
    while True:
        thread, status = os.waitpid(-pid, _WALL)
        if os.WIFSTOPPED(status):
            deliver = 0
            if status >> 8 == _SECCOMP_STOP:
                if name := _change(thread):
                    came.calls.append(name)
                    at(thread, len(came.calls))
            elif status >> 8 != _CLONE_STOP and thread in known:
                deliver = os.WSTOPSIG(status)
            known.add(thread)  # a new one is stopped where it begins
            _go_on(thread, deliver)
        elif thread == pid:
            came.status, came.said = status, _text(out)
            return came


def _begun(act: Callable[[], None]) -> tuple[int, int]:
    """The process that does *act*, under way and traced, and where what it says can be read."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        _child(act, into)
    os.close(into)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        raise AssertionError(f"nothing can be traced here: {_text(out)}")
    _ptrace(_PTRACE_SETOPTIONS, pid, _TRACECLONE | _TRACESECCOMP | _EXITKILL)
    _go_on(pid, 0)
    return pid, out


def _go_on(thread: int, deliver: int) -> None:
    with suppress(ProcessLookupError):  # it was killed where it stood
        _ptrace(_PTRACE_CONT, thread, deliver)


def _child(act: Callable[[], None], into: int) -> None:
    status = 1
    try:
        os.dup2(into, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.setpgid(0, 0)  # so that its tracer can wait for it and its threads alone
        libc.ptrace(_PTRACE_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        _filter()
        act()
        status = 0
    except BaseException:  # noqa: BLE001  whatever it was, the other process tells of it
        os.write(2, traceback.format_exc()[-4000:].encode())
    finally:
        os._exit(status)


def _filter() -> None:
    """From now on each of CALLS makes this process stop and its tracer look."""
    count = len(CALLS)
    program = [(seccomp.LOAD, 0, 0, seccomp.NUMBER)]
    program += [(seccomp.EQUALS, count - at, 0, number) for at, number in enumerate(CALLS.values())]
    program += [(seccomp.RETURN, 0, 0, seccomp.ALLOW), (seccomp.RETURN, 0, 0, seccomp.TRACE)]
    seccomp.install(program)


def _change(pid: int) -> str | None:
    """The name of the call that *pid* is about to make, if it changes anything."""
    buffer = ctypes.create_string_buffer(128)
    _ptrace(_PTRACE_GET_SYSCALL_INFO, pid, ctypes.addressof(buffer), size=len(buffer))
    _, _, _, _, number, *arguments = _INFO.unpack_from(buffer.raw)
    name = NAMES[number]
    flags = {"open": arguments[1], "openat": arguments[2]}.get(name)
    if flags is not None and not flags & MAKES:
        return None
    return None if name == "write" and arguments[0] in (1, 2) else name


def _answer(pid: int, value: int) -> None:
    """The call that *pid* is about to make is left out; it returns *value*."""
    regs = (ctypes.c_ulonglong * 27)()
    _ptrace(_PTRACE_GETREGS, pid, ctypes.addressof(regs))
    regs[_ORIG_RAX] = 2**64 - 1
    regs[_RAX] = value % 2**64
    _ptrace(_PTRACE_SETREGS, pid, ctypes.addressof(regs))


def _ptrace(request: int, pid: int, data: int, size: int = 0) -> None:
    if libc.ptrace(request, pid, size, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace {request:#x}: {errno.errorcode.get(code)}")


def _text(fd: int) -> str:
    with open(fd, encoding="utf-8", errors="replace") as file:
        sys.stdout.flush()
        return file.read()
