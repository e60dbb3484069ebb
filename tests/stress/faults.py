"""Faults of one entry that nobody undoes; the next write of the entry repairs them.

Each function takes the path of an entry and returns whether it did damage. Bytes are only changed in an entry that was
complete and sealed: damage to a damaged one could remove the seal and leave an unsealed entry, which CPython and the
hook would trust.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from importlib.util import source_hash
from py_compile import PycInvalidationMode
from py_compile import compile as compile_to

from .tree import Module

SEAL_MAGIC = b"PYCHOOK2"
SEAL_SIZE = 28
BLOCK = 512

Fault = Callable[["Target"], bool]


class Target:
    """The entry at `path` of `module`, and `other`, another entry's path; `past` are (path, bytes) of earlier ones.

    `aside` is a free path on the same file system, outside the cache, which nothing but entries may be left in.
    """

    def __init__(
        self, path: str, module: Module, other: str, drawn: random.Random, past: list[tuple[str, bytes]], *, aside: str
    ) -> None:
        self.path = path
        self.module = module
        self.other = other
        self.drawn = drawn
        self.past = past
        self.aside = aside

    def put(self, make: Callable[[str], None]) -> None:
        """Replace the entry, by rename, by the file that `make` creates."""
        try:
            make(self.aside)
            os.replace(self.aside, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.aside)


def entry(path: str) -> bytes:
    """Return the bytes of the entry at `path`, or none unless it is complete and sealed."""
    with contextlib.suppress(OSError), opened(path, os.O_RDONLY) as descriptor:
        return _whole(descriptor)
    return b""


@contextlib.contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    """Open the file, without following a link; raises OSError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _whole(descriptor: int) -> bytes:
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    sealed = data[-SEAL_SIZE:][:8] == SEAL_MAGIC and source_hash(data[:-8]) == data[-8:]
    return data if sealed else b""


def flip(target: Target) -> bool:
    """Change one byte."""
    with opened(target.path, os.O_RDWR) as descriptor:
        data = _whole(descriptor)
        if data:
            position = target.drawn.randrange(len(data))
            os.pwrite(descriptor, bytes([data[position] ^ target.drawn.randrange(1, 256)]), position)
        return bool(data)


def truncate(target: Target) -> bool:
    """Cut off the end, or everything."""
    with opened(target.path, os.O_RDWR) as descriptor:
        data = _whole(descriptor)
        if data:
            os.truncate(descriptor, target.drawn.choice((0, target.drawn.randrange(len(data)))))
        return bool(data)


def zero(target: Target) -> bool:
    """Overwrite blocks by zeros, up to the end or not, as a crash of the machine may do."""
    with opened(target.path, os.O_RDWR) as descriptor:
        data = _whole(descriptor)
        start = target.drawn.randrange(0, len(data) + 1, BLOCK)
        end = target.drawn.choice((len(data), start + BLOCK))
        lost = data[start:end]
        if any(lost):
            os.pwrite(descriptor, bytes(len(lost)), start)
        return any(lost)


def append(target: Target) -> bool:
    """Append random bytes."""
    with opened(target.path, os.O_RDWR | os.O_APPEND) as descriptor:
        whole = bool(_whole(descriptor))
        if whole:
            os.write(descriptor, target.drawn.randbytes(target.drawn.randint(1, 40)))
        return whole


def garbage(target: Target) -> bool:
    """Replace the entry by random bytes."""
    return _replace(target, target.drawn.randbytes(target.drawn.randrange(3000)))


def swap(target: Target) -> bool:
    """Replace the entry by another module's."""
    data = entry(target.other)
    return bool(data) and _replace(target, data)


def restore(target: Target) -> bool:
    """Restore an earlier state of an entry, like a backup."""
    if not target.past:
        return False
    target.path, data = target.drawn.choice(target.past)
    return _replace(target, data)


def _replace(target: Target, data: bytes) -> bool:
    def make(aside: str) -> None:
        with open(aside, "wb") as file:
            file.write(data)

    target.put(make)
    return True


def foreign(target: Target) -> bool:
    """Write a pyc by py_compile, in any of the invalidation modes: unsealed, and perhaps unchecked."""
    mode = target.drawn.choice(list(PycInvalidationMode))
    compile_to(target.module.path, cfile=target.path, doraise=True, invalidation_mode=mode)
    return True


def remove(target: Target) -> bool:
    """Remove the entry."""
    os.unlink(target.path)
    return True


def fifo(target: Target) -> bool:
    """Replace the entry by a FIFO without a writer."""
    target.put(os.mkfifo)
    return True


def dangling_link(target: Target) -> bool:
    """Replace the entry by a link to a missing file."""
    target.put(lambda aside: os.symlink(f"{target.path}.nowhere", aside))
    return True


def link(target: Target) -> bool:
    """Replace the entry by a link to another module's."""
    target.put(lambda aside: os.symlink(target.other, aside))
    return True


def chmod(target: Target) -> bool:
    """Make the entry unreadable, or writable for others."""
    with opened(target.path, os.O_RDONLY) as descriptor:
        os.fchmod(descriptor, target.drawn.choice((0o000, 0o200, 0o444, 0o600, 0o666, 0o646)))
        return True


def chown(target: Target) -> bool:
    """Give the entry to another owner."""
    with opened(target.path, os.O_RDONLY) as descriptor:
        os.fchown(descriptor, 65534, -1)
        return True
