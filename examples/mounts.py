"""Trees that cannot be written to, and the mounts that make them so for root too."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steps import stop


def is_root() -> bool:
    """Return whether this process may do what root may: permissions do not stop it from writing."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def read_only(tree: Path) -> Iterator[list[str]]:
    """Make a tree read-only for a while; give the command under which processes find it so.

    For root that takes a read-only mount in a mount namespace of its own, for others the permissions will do.
    """
    if is_root():
        script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$PWD" && exec "$@"'
        yield [*own_mounts("mount"), "sh", "-c", script, str(tree)]
        return
    modes = {path: path.stat().st_mode for path in (tree, *tree.rglob("*")) if not path.is_symlink()}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield []
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def own_mounts(*programs: str) -> list[str]:
    """Return the command under which root's mounts are the process's own; end the example if they cannot be had."""
    for program in ("unshare", *programs):
        if shutil.which(program) is None:
            stop(f"This example needs {program}(1).")
    commands = [["unshare", "--mount"]]
    if " shared:" not in Path("/proc/self/mountinfo").read_text(encoding="utf-8"):
        commands.append(["unshare", "--mount", "--propagation=unchanged"])  # where / is no mount, as in a chroot
    found = next(filter(works, commands), None)
    if found is None:
        stop("This example needs to make mount namespaces, and this machine does not let it: unshare --mount fails.")
    return found


def works(command: list[str]) -> bool:
    """Return whether a program can be started under `command`."""
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
