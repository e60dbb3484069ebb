"""Trees that cannot be written to, and the mounts that make them read-only for root, too."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steps import stop


def is_root() -> bool:
    """Return whether this process has root's privileges, so that permissions do not prevent writing."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def read_only(tree: Path) -> Iterator[list[str]]:
    """Make a tree read-only temporarily; yield the command under which processes see it so.

    For root this takes a read-only mount in a separate mount namespace; for other users permissions suffice.
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
    """Return the command that gives a process separate mounts; end the example if that is impossible."""
    for program in ("unshare", *programs):
        if shutil.which(program) is None:
            stop(f"This example needs {program}(1).")
    commands = [["unshare", "--mount"]]
    if " shared:" not in Path("/proc/self/mountinfo").read_text(encoding="utf-8"):
        commands.append(["unshare", "--mount", "--propagation=unchanged"])  # / is no mount point, as in a chroot
    found = next(filter(works, commands), None)
    if found is None:
        stop("This example needs to make mount namespaces, and this machine does not let it: unshare --mount fails.")
    return found


def works(command: list[str]) -> bool:
    """Return whether a program can be started by `command`."""
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
