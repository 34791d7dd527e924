"""A seccomp filter on this process and all that it starts, as lines of classic BPF."""

import ctypes
import struct

# (code, jump if true, jump if not, operand); of <linux/bpf_common.h> and <linux/seccomp.h>.
Line = tuple[int, int, int, int]
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
ALLOW, TRACE, FAIL = 0x7FFF0000, 0x7FF00000, 0x00050000  # FAIL with an errno added
NUMBER = 0  # where the number of the call lies

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38


def argument(at: int) -> int:
    """Where the lower half of the call's argument *at* lies."""
    return 16 + 8 * at


def install(program: list[Line]) -> None:
    """From now on, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    raw = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in program))
    head = ctypes.create_string_buffer(
        struct.pack("<H6xQ", len(program), ctypes.addressof(raw)), 16
    )
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, 2, head, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter")
