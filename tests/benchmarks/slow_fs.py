"""A read-only file system that shows another directory and delays every operation by a millisecond, like a network.

`python slow_fs.py SOURCE DELAY` mounts it over SOURCE itself, for processes started later, and serves it until it is
unmounted; DELAY is in seconds. The kernel caches nothing: every query of a name or an attribute reaches this program.
Needs `mfusepy`, fuse3 and /dev/fuse.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from mfusepy import FUSE, FuseOSError, Operations


def _slow(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Delay an operation by `delay` seconds."""

    @functools.wraps(operation)
    def wait(view: SlowView, *arguments: object) -> object:
        time.sleep(view.delay)
        try:
            return operation(view, *arguments)
        except OSError as error:
            raise FuseOSError(error.errno) from None

    return wait


class SlowView(Operations):  # type: ignore[misc]  # mfusepy has no types
    """The directory behind the descriptor `root`, opened before the mount covered it."""

    use_ns = True

    def __init__(self, root: int, delay: float) -> None:
        self.root = root
        self.delay = delay

    def _at(self, path: str) -> str:
        return path.lstrip("/") or "."

    @_slow
    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        """Return a file's status."""
        status = os.stat(self._at(path), dir_fd=self.root, follow_symlinks=False)
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size")
        times = {f"st_{name}time": getattr(status, f"st_{name}time_ns") for name in "amc"}
        return {**{name: getattr(status, name) for name in names}, **times}

    @_slow
    def readdir(self, path: str, _handle: int) -> list[str]:
        """Return the names in a directory."""
        descriptor = os.open(self._at(path), os.O_RDONLY, dir_fd=self.root)
        try:
            return [".", "..", *os.listdir(descriptor)]
        finally:
            os.close(descriptor)

    @_slow
    def readlink(self, path: str) -> str:
        """Return the target of a link."""
        return os.readlink(self._at(path), dir_fd=self.root)

    @_slow
    def open(self, path: str, _flags: int) -> int:
        """Open a file for reading."""
        return os.open(self._at(path), os.O_RDONLY, dir_fd=self.root)

    @_slow
    def read(self, _path: str, size: int, offset: int, handle: int) -> bytes:
        """Read from an open file."""
        return os.pread(handle, size, offset)

    @_slow
    def release(self, _path: str, handle: int) -> int:
        """Close an open file."""
        os.close(handle)
        return 0


if __name__ == "__main__":
    source, delay = sys.argv[1:]
    FUSE(
        SlowView(os.open(source, os.O_RDONLY | os.O_DIRECTORY), float(delay)),
        source,
        foreground=True,
        ro=True,
        allow_other=True,
        nonempty=False,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
    )
