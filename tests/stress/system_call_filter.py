"""A seccomp filter that makes system calls fail, as in containers and sandboxes (Linux, x86-64 and AArch64)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

# System call numbers: name, x86-64, AArch64. None: that machine has no such call.
CALLS: dict[str, tuple[int, int | None]] = {
    "flock": (73, 32),
    "rename": (82, None),
    "renameat": (264, 38),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "fchmod": (91, 52),
    "fchown": (93, 55),
    "utimensat": (280, 88),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "write": (1, 64),
    "getdents64": (217, 61),
    "getresuid": (118, 148),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


def is_possible() -> bool:
    """Return whether this machine supports such filters."""
    return platform.system() == "Linux" and platform.machine() in _MACHINES


def forbid(names: list[str], error: str) -> None:
    """Make each of the system calls fail with this error in this process from now on."""
    column, architecture = _MACHINES[platform.machine()]
    numbers = [number for name in names if (number := CALLS[name][column]) is not None]
    fail = _ERROR | getattr(errno, error)
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 0)]
    for number in numbers:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, fail)]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
