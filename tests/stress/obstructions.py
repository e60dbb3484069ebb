"""Obstructions: faults that make a part of the cache unusable for a while.

An obstruction takes an `Area` and returns a function that undoes it, or None if it could not be done; a removal takes
one and returns whether there was anything to remove, which nobody restores. While an obstruction lasts, a writer cannot
even remove its temporary file: the paths and times are recorded for the check of left-over files.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from errno import EBUSY

from .settings import Settings

Undo = Callable[[], None]
Obstruction = Callable[["Area"], Undo | None]
Removal = Callable[["Area"], bool]

PAGE = 4096
OWN = ".pycachehook"
LOCKS = 64


class Area:
    """A part of the cache: `folder`, the directory of the entries of one package, and the entry `path` in it.

    `blocked` is set to a directory in which no name can be removed while the obstruction lasts.
    """

    def __init__(self, settings: Settings, path: str, drawn: random.Random) -> None:
        self.settings = settings
        self.cache = settings.cache
        self.path = path
        self.folder = os.path.dirname(path)
        self.drawn = drawn
        self.blocked: str | None = None

    def aside(self) -> str:
        """Return a new name on the same file system, outside the cache."""
        return f"{self.settings.disk}/aside-{self.drawn.getrandbits(64):x}"

    def lock_file(self) -> str:
        """Return the path of one of the cache's lock files."""
        return f"{self.cache}/{OWN}/locks/{self.drawn.randrange(LOCKS):02x}"


def demolish(path: str) -> None:
    """Remove a file, link or directory tree, without following links."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        os.unlink(path)


def _clear(path: str) -> None:
    """Remove a path; raises OSError if it stays, because another obstruction may have it."""
    demolish(path)
    if os.path.lexists(path):
        raise OSError(EBUSY, "cannot be removed yet", path)


def _replace(area: Area, path: str, make: Callable[[str], None]) -> Undo | None:
    """Replace `path` by what `make` creates, until it is undone; the former content is lost."""
    aside = area.aside()
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return None
    try:
        make(path)
    except FileExistsError:  # somebody was faster
        return None
    finally:
        demolish(aside)
    return lambda: _clear(path)


def directory_as_entry(area: Area) -> Undo | None:
    """Replace an entry by a directory, empty or not."""

    def make(path: str) -> None:
        os.mkdir(path)
        if area.drawn.random() < 0.5:
            os.mkdir(f"{path}/inside")

    return _replace(area, area.path, make)


def file_as_directory(area: Area) -> Undo | None:
    """Replace the directory of a package, or one above it, by a file."""
    return _replace(area, _some_directory(area), _make_file)


def link_as_directory(area: Area) -> Undo | None:
    """Replace the directory of a package, or one above it, by a link that leads out of the cache."""
    outside = f"{area.settings.disk}/outside"
    os.makedirs(outside, exist_ok=True)
    return _replace(area, _some_directory(area), lambda path: os.symlink(outside, path))


def _some_directory(area: Area) -> str:
    return area.folder if area.drawn.random() < 0.9 else os.path.dirname(area.folder)


def _make_file(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def chmod_directory(area: Area) -> Undo | None:
    """Make a package's directory unwritable or inaccessible."""
    area.blocked = area.folder
    return _chmod(area.folder, area.drawn.choice((0o555, 0o000, 0o600)))


def chmod_cache(area: Area) -> Undo | None:
    """Make the cache directory unwritable or inaccessible, or writable for everybody."""
    area.blocked = area.cache
    return _chmod(area.cache, area.drawn.choice((0o555, 0o000, 0o777, 0o700)))


def _chmod(path: str, mode: int) -> Undo | None:
    try:
        os.chmod(path, mode)
    except FileNotFoundError:
        return None
    return lambda: os.chmod(path, 0o755)


def lock_as_directory(area: Area) -> Undo | None:
    """Replace a lock file by a directory."""
    return _replace(area, area.lock_file(), os.mkdir)


def lock_as_fifo(area: Area) -> Undo | None:
    """Replace a lock file by a FIFO without a reader."""
    return _replace(area, area.lock_file(), os.mkfifo)


def lock_as_link(area: Area) -> Undo | None:
    """Replace a lock file by a link to a missing file."""
    return _replace(area, area.lock_file(), lambda path: os.symlink(f"{area.cache}/nowhere/{OWN}", path))


def own_as_file(area: Area) -> Undo | None:
    """Replace the directory of the hook's own files by a file."""
    return _replace(area, f"{area.cache}/{OWN}", _make_file)


def full_disk(area: Area) -> Undo | None:
    """Fill the disk up, completely or nearly."""
    status = os.statvfs(area.settings.disk)
    size = (status.f_bavail - area.drawn.choice((0, 0, 1, 2, 5))) * status.f_frsize
    name = area.aside()
    zeros = bytes(64 * PAGE)
    with contextlib.suppress(OSError), open(name, "wb", buffering=0) as file:
        while size > 0:
            size -= file.write(zeros[:size])
    return lambda: _clear(name)


def no_more_files(area: Area) -> Undo | None:
    """Use up the number of files that the disk can hold."""
    folder = area.aside()
    os.mkdir(folder)
    with contextlib.suppress(OSError):
        for number in range(os.statvfs(area.settings.disk).f_favail):
            os.mknod(f"{folder}/{number}")
    return lambda: _clear(folder)


def read_only_disk(area: Area) -> Undo | None:
    """Remount the disk read-only."""
    area.blocked = area.settings.disk
    _remount(area.settings.disk, "ro")
    return lambda: _remount(area.settings.disk, "rw")


def _remount(disk: str, how: str) -> None:
    """Remount the disk; raises OSError while a process has a file open for writing."""
    command = ["mount", "-o", f"remount,{how}", disk]
    if not any(subprocess.run(command, capture_output=True, check=False).returncode == 0 for _ in range(5)):
        raise OSError(EBUSY, f"cannot be remounted {how}", disk)


def removed_directory(area: Area) -> bool:
    """Remove a package's directory, or one above it."""
    return _removed(_some_directory(area))


def removed_locks(area: Area) -> bool:
    """Remove a lock file, all lock files, or all of the hook's own files."""
    own = f"{area.cache}/{OWN}"
    return _removed(area.drawn.choice((area.lock_file(), f"{own}/locks", own)))


def removed_cache(area: Area) -> bool:
    """Remove the whole cache: by one rename, or file by file."""
    if area.drawn.random() < 0.5:
        return _removed(area.cache)
    gone = area.aside()
    os.rename(area.cache, gone)
    demolish(gone)
    return True


def _removed(path: str) -> bool:
    there = os.path.lexists(path)
    demolish(path)
    return there
