"""Fixtures of the functional tests: environments with the wheel, private mounts, other users, counters by process."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import pytest

from .examples import run_command
from .sides import Sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from conftest import Python

NOBODY = 65534  # a user and a group that own no files here
DEVELOPMENT = ("editables", "gunicorn", "hatchling", "pytest", "pytest-xdist")  # in one environment, to be made once
LARGE_IMPORT = "import pip._internal.commands.install, pip._internal.commands.list"  # of hundreds of modules


class Counters(TypedDict):
    """The counters of one process."""

    hits: int
    hits_by_place: dict[str, int]
    compiled: int
    stored: int
    misses: dict[str, int]
    errors: int


class Stats(Counters):
    """One line of `PYCACHEHOOK_STATS`."""

    pid: int
    python: str
    argv0: str


class Measure:
    """Runs children with `PYCACHEHOOK_STATS` and returns their counters."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.output = ""  # of the last child

    def __call__(
        self, run: Callable[..., subprocess.CompletedProcess[str]], *arguments: str | Path, **more: str
    ) -> Stats:
        """Run one child that starts no others; return its counters, and keep its standard output."""
        self.file.unlink(missing_ok=True)
        self.output = run(*arguments, PYCACHEHOOK_STATS=str(self.file), **more).stdout
        (stats,) = self.lines()
        return stats

    def lines(self) -> list[Stats]:
        """Return the lines that all children have written since the last call."""
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Return the function that runs a child and returns its counters."""
    return Measure(tmp_path / "stats.jsonl")


class PrivateMounts:
    """Runs an interpreter in a separate mount namespace, as another user on request.

    The mounts vanish with the process.
    """

    def __init__(self, shell: Python, options: tuple[str, ...]) -> None:
        self.shell = shell
        self.options = options

    def __call__(
        self,
        python: Python,
        *arguments: str | Path,
        read_only: Iterable[Path] = (),
        small: Mapping[Path, int] | None = None,
        reach: Iterable[Path] = (),
        user: int | None = None,
        wrapper: Iterable[str] = (),
        check: bool = True,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python` with `arguments`.

        The trees in `read_only` are mounted read-only, and the directories in `small` are tmpfs of that many bytes.
        `user` gets access to the interpreter, its environment and the trees in `reach`. `wrapper` is a command that
        starts the interpreter.
        """
        commands = ["set -e"]
        if user is not None:
            prefix = Path(python.executable).parent.parent
            commands += _open_ways([Path(sys.base_prefix), prefix, *reach])
        for tree in map(str, read_only):
            commands += [
                shlex.join(["mount", "--bind", tree, tree]),
                shlex.join(["mount", "-o", "remount,bind,ro", tree]),
            ]
        for folder, size in (small or {}).items():
            commands.append(shlex.join(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]))
        become = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
        commands.append("exec " + shlex.join([*become, *wrapper, python.executable, *map(str, arguments)]))
        script = "\n".join(commands)
        shell = self.shell.within({**python.environment, **environment})
        return shell(*self.options, "sh", "-c", script, check=check)


def _open_ways(wanted: Iterable[Path]) -> Iterator[str]:
    """Yield shell commands that mount each tree at its own path, below parents that everybody may enter."""
    closed: dict[Path, list[Path]] = {}
    for tree in dict.fromkeys(wanted):
        for parent in reversed(tree.parents):
            if not parent.stat().st_mode & 0o001:
                closed.setdefault(parent, []).append(tree)
                break
    numbered = list(enumerate((tree for trees in closed.values() for tree in trees), start=3))
    for number, tree in numbered:
        yield f"exec {number}<{shlex.quote(str(tree))}"
    for parent in closed:
        yield shlex.join(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(parent)])
    for number, tree in numbered:
        yield shlex.join(["mkdir", "-p", str(tree)])
        yield shlex.join(["mount", "--no-canonicalize", "--bind", f"/proc/self/fd/{number}", str(tree)])


@pytest.fixture
def private_mounts(python: Python) -> PrivateMounts:
    """Return the function that runs an interpreter in a separate mount namespace; skips if that is impossible."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root: mounts and other users")
    shell = type(python)("unshare")
    for options in (("--mount",), ("--mount", "--propagation=unchanged")):
        if options[1:] and " shared:" in Path("/proc/self/mountinfo").read_text(encoding="utf-8"):
            break  # the mounts would be visible to all processes
        if shell(*options, "true", check=False).returncode == 0:
            return PrivateMounts(shell, options)
    pytest.skip("needs unshare(1) to make mount namespaces")


def _opened(python: Python) -> Python:
    """Allow other users to enter the environment."""
    Path(python.executable).parent.parent.chmod(0o755)
    return python


@pytest.fixture(scope="session")
def shared_environment(make_environment: Callable[..., Python]) -> Python:
    """Return a virtual environment with the wheel; tests that change it must undo the change."""
    return _opened(make_environment())


@pytest.fixture
def environment(shared_environment: Python, python: Python) -> Python:
    """Return a virtual environment with the wheel, for a user with an empty home directory."""
    return type(python)(shared_environment.executable, **python.environment)


@pytest.fixture(scope="session")
def shared_pip_environment(make_environment: Callable[..., Python]) -> Python:
    """Return a virtual environment with the wheel, and with pip as a large package that has no bytecode."""
    python = _opened(make_environment())
    for folder in [*Path(python.executable).parent.parent.glob("lib/python*/site-packages/pip/**/__pycache__")]:
        shutil.rmtree(folder)
    return python


@pytest.fixture
def pip_environment(shared_pip_environment: Python, python: Python) -> Python:
    """Return this environment, for a user with an empty home directory."""
    return type(python)(shared_pip_environment.executable, **python.environment)


@pytest.fixture
def purelib() -> Callable[[Python], Path]:
    """Return a function that returns an environment's package directory."""

    def ask(python: Python) -> Path:
        return Path(python("-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())

    return ask


@pytest.fixture
def run_example(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that runs an example's command in the root of the clone and returns its output."""
    commands = tmp_path / "bin"
    commands.mkdir()
    return lambda name: run_command(name, commands)


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    """Return the three ways to run a program, with an empty cache."""
    return Sides(tmp_path)
