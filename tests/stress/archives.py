"""The archive in front of the cache: how it is built, and the faults that it suffers.

It has the mode `checked-hash`, so it may be out of date. It is never truncated in place, because the kernel would end
processes that have mapped the file, as the documentation says; `archive build` also replaces it by a rename.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable

from .settings import PROJECT, Settings, clean_environment

Damage = Callable[[Settings, random.Random], bool]

_builds: list[subprocess.Popen[bytes]] = []


def build(settings: Settings, _drawn: random.Random | None = None) -> bool:
    """Start building the archive of the current tree, unless a build is running."""
    if _builds and _builds[-1].poll() is None:
        return False
    os.makedirs(os.path.dirname(settings.archive), exist_ok=True)
    mode = ("--invalidation-mode", "checked-hash", "--jobs", "1")
    command = [sys.executable, "-m", "pycachehook", "archive", "build", *mode, "--path", settings.tree]
    command += ["--force", settings.archive]
    null = subprocess.DEVNULL
    _builds.append(subprocess.Popen(command, cwd=PROJECT, env=clean_environment(), stdout=null, stderr=null))
    return True


def wait() -> None:
    """Wait for the last build to end."""
    if _builds:
        _builds[-1].wait()


def flip(settings: Settings, drawn: random.Random) -> bool:
    """Change one byte in place."""
    descriptor = os.open(settings.archive, os.O_RDWR)
    try:
        position = drawn.randrange(os.fstat(descriptor).st_size)
        byte = os.pread(descriptor, 1, position)[0]
        os.pwrite(descriptor, bytes([byte ^ drawn.randrange(1, 256)]), position)
    finally:
        os.close(descriptor)
    return True


def cut_off(settings: Settings, drawn: random.Random) -> bool:
    """Replace it by a truncated copy."""
    with open(settings.archive, "rb") as file:
        data = file.read()
    aside = f"{settings.archive}.aside"
    with open(aside, "wb") as file:
        file.write(data[: drawn.randrange(len(data))])
    os.replace(aside, settings.archive)
    return True


def remove(settings: Settings, _drawn: random.Random) -> bool:
    """Remove it."""
    os.unlink(settings.archive)
    return True
