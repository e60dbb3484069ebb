"""The conditions under which a program is started: context managers, entered and left outside the measured time."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .measure import Skipped

_CLONE_NEWNS = 0x00020000  # a new mount namespace: unshare(2)
_LONG_AGO = (
    315_532_800  # 1980-01-01, in seconds since the epoch: the mtime of many packages and images made from zip files
)
_WRITE = 0o222

_seconds = itertools.count(_LONG_AGO)


@contextmanager
def emptied(directory: Path) -> Iterator[None]:
    """Move the contents of `directory` away, and restore them afterwards, without files added meanwhile."""
    aside = directory.with_name(f"{directory.name}.aside")
    if directory.exists():
        directory.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if aside.exists():
            aside.rename(directory)


@contextmanager
def swept(folder: Path) -> Iterator[None]:
    """Remove every `__pycache__` below `folder` afterwards; there is none before."""
    try:
        yield
    finally:
        sweep(folder)


def sweep(folder: Path) -> None:
    """Remove every `__pycache__` below `folder`."""
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)


@contextmanager
def restamped(folder: Path) -> Iterator[None]:
    """Give every source below `folder` the same mtime, a new one each time; restore its own afterwards."""
    found = {path: os.stat(path).st_mtime_ns for path in _sources(folder)}
    now = next(_seconds) * 10**9
    try:
        for path in found:
            os.utime(path, ns=(now, now))
        yield
    finally:
        for path, mtime in found.items():
            os.utime(path, ns=(mtime, mtime))


@functools.cache
def _sources(folder: Path) -> list[str]:
    return [os.path.join(base, name) for base, _, names in os.walk(folder) for name in names if name.endswith(".py")]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make the tree at `folder` read-only: by a private bind mount, or without root by its modes.

    Raises `Skipped` if neither is possible.
    """
    with _mounted(folder) if os.geteuid() == 0 else protected(folder):
        if os.access(folder, os.W_OK):
            raise Skipped(f"{folder} stays writable, whatever is done")
        yield


@contextmanager
def slow(*folders: Path, delay: float) -> Iterator[None]:
    """Delay every operation on these trees by `delay` seconds, as on a network file system; raises `Skipped`."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse") or importlib.util.find_spec("mfusepy") is None:
        raise Skipped("a slow file system needs root, /dev/fuse, fuse3 and mfusepy")
    _own_namespace()
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(_slow(folder, delay))
        yield


@contextmanager
def _slow(folder: Path, delay: float) -> Iterator[None]:
    before = folder.stat().st_dev
    command: list[str | Path] = [sys.executable, Path(__file__).with_name("slow_fs.py"), folder, str(delay)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while folder.stat().st_dev == before:
            if server.poll() is not None:
                raise Skipped(f"the slow file system cannot be mounted on {folder}")
            time.sleep(0.01)
        yield
    finally:
        subprocess.run(
            ["umount", "--lazy", folder], check=False, capture_output=True
        )  # the kernel may not have finished yet
        server.terminate()
        server.wait()


@contextmanager
def uncached() -> Iterator[None]:
    """Drop every file's contents from the page cache first; raises `Skipped` without root."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
    except OSError as error:
        raise Skipped(f"the page cache cannot be dropped: {error.strerror}") from None
    yield


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    _own_namespace()
    _mount("mount", "--bind", folder, folder)
    try:
        _mount("mount", "-o", "remount,bind,ro", folder)
        yield
    finally:
        _mount("umount", folder)


def _mount(*command: str | Path) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise Skipped(f"no read-only bind mount: {answer.stderr.strip()}")


@functools.cache
def _own_namespace() -> None:
    """Enter a new mount namespace, like `unshare --mount`, for this process and its later children."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        raise Skipped(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    _mount("mount", "--make-rprivate", "/")


@contextmanager
def protected(folder: Path) -> Iterator[None]:
    """Remove the write permission from every directory below `folder`, and restore it afterwards."""
    modes = {base: os.stat(base).st_mode for base, _, _ in os.walk(folder)}
    try:
        for base, mode in modes.items():
            os.chmod(base, mode & ~_WRITE)
        yield
    finally:
        for base, mode in modes.items():
            os.chmod(base, mode)
