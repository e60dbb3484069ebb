"""A small separate disk for the cache, which can be filled up and made read-only without affecting others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .settings import clean_environment

SIZE = "16m"
FILES = 1500  # more than all entries need

PRIVATE = "--in-private-namespace"
_WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", "--")


def is_root() -> bool:
    """Return whether this process can mount and change owners."""
    return os.geteuid() == 0


def enter_namespace(arguments: Sequence[str]) -> list[str]:
    """Return `arguments` in a process with its own mount namespace, restarting this process if necessary.

    If that is not possible they are returned at once. `owns_mounts` says which it was.
    """
    rest = [argument for argument in arguments if argument != PRIVATE]
    if owns_mounts(arguments) or not is_root() or not _have("unshare", "mount", "umount"):
        return rest
    shared = " shared:" in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    for options in (("--mount",), ("--mount", "--propagation=unchanged")):
        if options[1:] and shared:
            break  # otherwise every process would see these mounts
        command = ["unshare", *options]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            own = [sys.executable, "-m", "tests.stress", PRIVATE, *rest]
            os.execvpe(command[0], [*command, *own], clean_environment())
    return rest


def owns_mounts(arguments: Sequence[str]) -> bool:
    """Return whether a process with these `arguments` was started by `enter_namespace`."""
    return PRIVATE in arguments


def mount(path: str) -> bool:
    """Mount an empty disk at `path`, and return whether that worked."""
    options = f"size={SIZE},nr_inodes={FILES},mode=0755"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(path: str) -> None:
    """Unmount the disk."""
    subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)


def unprivileged() -> tuple[str, ...] | None:
    """Return a command prefix with which modes apply even to root's command, or None if there is none."""
    if not is_root():
        return ()
    if (
        _have("setpriv")
        and subprocess.run([*_WITHOUT_RIGHTS, "true"], capture_output=True, check=False).returncode == 0
    ):
        return _WITHOUT_RIGHTS
    return None


def open_to_all(path: str) -> bool:
    """Return whether every user can enter the directory at `path`, and those above it."""
    return all(each.stat().st_mode & 0o001 for each in (Path(path), *Path(path).parents))


def _have(*commands: str) -> bool:
    return all(map(shutil.which, commands))
