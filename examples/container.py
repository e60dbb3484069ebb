"""A container without an engine: a root file system of bind mounts, in a separate mount namespace, by chroot.

The content of a base image (programs, libraries, this Python) is replaced by this machine's, mounted read-only. The
rest is an empty directory, into which a build may write. A container runs as it would with an engine: as any user, and
with a read-only root file system on request. The mounts vanish with the process.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mounts import is_root, own_mounts
from packages import copy_packages
from steps import stop

ROOT, NOBODY = 0, 65534  # user ids; each has a group with the same number

# Directories with programs and libraries; a link, as /bin often is, is copied as a link.
BASE = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/etc")

KERNEL = (Path("/dev"), Path("/proc"))
OUTPUT = Path("/output")
TEMPORARY = Path("/tmp")  # noqa: S108 -- inside the container

VENV = Path("/opt/venv")
CONSOLE_SCRIPT = f"""#!{VENV}/bin/python
import sys
from pycachehook.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""


class Container:
    """An image, in the directory `root`, and the processes that run in it."""

    def __init__(self, folder: Path) -> None:
        """Create the image with the content of a base image."""
        if not is_root():
            stop("This example needs root: it mounts, and runs as another user.")
        self._own_mounts = own_mounts("chroot", "mount")
        os.umask(0o022)  # as in builds: everybody may read files created by root
        self.root = folder / "root"
        self.output = folder / "output"  # mounted at /output, as a volume into which every user may write
        self.environment = {"PATH": "/opt/python:/usr/bin:/bin", "HOME": "/"}
        self._base = []
        for path in (self.root, self.output, self.inside(OUTPUT), self.inside(TEMPORARY)):
            path.mkdir()
            path.chmod(0o755 if path == self.root else 0o777)
        for place in dict.fromkeys((*BASE, sys.base_prefix)):
            if os.path.islink(place):
                self.inside(Path(place)).symlink_to(os.readlink(place))
            elif os.path.isdir(place) and not place.startswith("/usr/"):
                self._base.append(Path(place))
        for path in (*self._base, *KERNEL):
            self.inside(path).mkdir(parents=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.write_program(Path("/opt/python/python3"), f'#!/bin/sh\nexec {sys.base_prefix}/bin/python{version} "$@"\n')

    def inside(self, path: Path) -> Path:
        """Return the path on this machine of `path` in the container."""
        return self.root / path.relative_to("/")

    def write_program(self, path: Path, text: str) -> None:
        """Write a script into the image that everybody may run."""
        place = self.inside(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        place.chmod(0o755)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file or directory of this machine into the image, without bytecode."""
        place = self.inside(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, place, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(source, place)

    def install(self, *names: str) -> None:
        """Install pycachehook and the distributions `names` in the container's venv, as by `pip install --no-compile`.

        They and their requirements are copied from the environment that runs this, so no network is needed.
        """
        (site,) = self.inside(VENV).glob("lib/python*/site-packages")
        copy_packages(site, "pycachehook", *names)
        self.write_program(VENV / "bin" / "pycachehook", CONSOLE_SCRIPT)

    def run(
        self,
        *command: str,
        user: int = ROOT,
        read_only: bool = False,
        folder: str = "/",
        environment: Mapping[str, str] | None = None,
        standard_input: str = "",
        check: bool = True,
    ) -> str:
        """Run a command in the container and return its output; by default, end the example if it fails."""
        variables = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        enter = ["chroot", f"--userspec={user}:{user}", "--groups=", str(self.root), "/usr/bin/env", "-i", *variables]
        enter += ["sh", "-c", 'cd "$0" && exec "$@"', folder, *command]
        script = "\n".join(("set -e", *self._mount_commands(read_only=read_only), f"exec {shlex.join(enter)}"))
        done = subprocess.run(
            [*self._own_mounts, "sh", "-c", script],
            input=standard_input,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and check:
            stop(f"{shlex.join(command)} ended with exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout if check else done.stdout + done.stderr

    def _mount_commands(self, *, read_only: bool) -> list[str]:
        root = str(self.root)
        mounts = [["--bind", root, root]]
        for path in self._base:
            target = str(self.inside(path))
            mounts += [["--bind", str(path), target], ["-o", "remount,bind,ro", target]]
        mounts += [["--rbind", str(path), str(self.inside(path))] for path in KERNEL]
        mounts.append(["--bind", str(self.output), str(self.inside(OUTPUT))])
        if read_only:
            mounts.append(["-t", "tmpfs", "tmpfs", str(self.inside(TEMPORARY))])
            mounts.append(["-o", "remount,bind,ro", root])
        return [shlex.join(["mount", *arguments]) for arguments in mounts]
