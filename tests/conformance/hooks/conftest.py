"""Fixtures of these tests: one environment with all tools, and a workbench for each test.

The environment with the tools is made once in a run, by the first of xdist's workers. A workbench is a virtual
environment of a few files that imports the tools from there, so that a test can activate the hook, or install packages,
without affecting other tests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
import textwrap
import venv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import filelock
import pytest

from conftest import NOT_LAZY, Python, clean_environment

from .servers import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

TOOLS = (
    "pytest>=8",
    "pytest-cov>=5",
    "coverage>=7.6",
    "setuptools>=70.1",
    "hatchling>=1.26",
    "editables>=0.5",
    "scikit-build-core>=0.10",
    "cmake>=3.26",
    "meson-python>=0.16",
    "ninja>=1.10",
    "gunicorn>=22",
    "flask>=3",
    "django>=4.2",
    "ipython>=8",
    "beartype>=0.18",
    "typeguard>=4.3",
    "pex>=2.20",
    "uvicorn>=0.30",
    "cython>=3",
    "hy>=1",
    "mcpyrate>=3.6",
)

FIRST, LAST = "first", "last"  # when the hook is installed: at the start of Python, or after the other tool

INSTALL = "import pycachehook; pycachehook.install()"

# Runs pytest on its arguments, and installs the hook after pytest's own finder, before the first `conftest.py`.
RUN_PYTEST = {
    "run_pytest.py": """
        import sys
        import pytest

        class Late:
            @pytest.hookimpl(tryfirst=True)
            def pytest_load_initial_conftests(self):
                INSTALL

        sys.exit(pytest.main(plugins=[Late()]))
    """
}


class Counted(TypedDict):
    """The sums of the counters of all processes of a command."""

    processes: int
    from_store: int
    compiled: int
    stored: int
    errors: int


class Workbench:
    """A virtual environment with the hook and all tools, a tree of sources, and a cache that is empty at first."""

    def __init__(self, python: Python, root: Path, order: str) -> None:
        self.python = python
        self.tree = root / "tree"
        self.cache = root / "cache"
        self.order = order
        self._stats = root / "stats.jsonl"
        self._environment = {"PYCACHEHOOK_STATS": str(self._stats), "PYCACHEHOOK_CACHE_DIR": str(self.cache)}
        if order == FIRST:
            python("-m", "pycachehook", "enable", "--cache-dir", self.cache)

    @property
    def install(self) -> str:
        """The line of a program that installs the hook after the other tool, unless it is already active."""
        return INSTALL if self.order == LAST else "pass"

    def write(self, files: Mapping[str, str]) -> None:
        """Write files below the tree; `INSTALL` in a file stands for the line `install`."""
        for name, text in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip().replace("INSTALL", self.install), encoding="utf-8")

    def __call__(self, *arguments: str | Path, exit_code: int = 0, **environment: str) -> str:
        """Run Python in the tree, check the exit code, and return the output."""
        process = self.python(*arguments, cwd=self.tree, check=False, **{**self._environment, **environment})
        assert process.returncode == exit_code, process.stdout + process.stderr
        return process.stdout

    def twice(self, *arguments: str | Path, exit_code: int = 0, **environment: str) -> str:
        """Run Python twice; the second run prints the same, and compiles nothing that the first has stored."""
        outputs = []
        self.counted()
        for _ in range(2):
            outputs.append(re.sub(r" in [\d.]+s$", "", self(*arguments, exit_code=exit_code, **environment)))
            counts = self.counted()
            if len(outputs) == 1:
                assert counts["stored"] == counts["compiled"] > 0, counts
        assert counts["compiled"] == 0, counts
        assert counts["from_store"] > 0, counts
        assert outputs[0] == outputs[1]
        self.assert_clean()
        return outputs[1]

    def counted(self) -> Counted:
        """Return the counters of all processes since the last call; there must be no errors."""
        total: Counter[str] = Counter()
        if self._stats.exists():
            lines = [json.loads(line) for line in self._stats.read_text(encoding="utf-8").splitlines()]
            self._stats.unlink()
            for line in lines:
                total["processes"] += 1
                total["from_store"] += line["hits_by_place"]["store"]
                total.update({name: line[name] for name in ("compiled", "stored", "errors")})
        assert total["errors"] == 0
        return Counted(
            processes=total["processes"],
            from_store=total["from_store"],
            compiled=total["compiled"],
            stored=total["stored"],
            errors=total["errors"],
        )

    def entries(self) -> set[str]:
        """Return the names of the tree's modules that have a cache entry at CPython's path."""
        folder = self.cache / str(self.tree)[1:]
        return {path.name.partition(".")[0] for path in folder.rglob("*.pyc")}

    def assert_clean(self) -> None:
        """Check that there is no bytecode in the tree."""
        assert not [path for path in self.tree.rglob("*") if path.name == "__pycache__" or path.suffix == ".pyc"]

    def serve(self, *arguments: str | Path, **environment: str) -> Server:
        """Start a server in the tree; `{port}` in its arguments stands for the port it listens on."""
        variables = clean_environment(**{**self.python.environment, **self._environment, **environment})
        return Server([self.python.executable, *map(str, arguments)], self.tree, variables)


def _install_tools(folder: Path, wheel: Path) -> str:
    """Create the environment; return the reason if that was not possible, else an empty string."""
    venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)
    command: list[str | Path] = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    done = subprocess.run(
        [*command, wheel, *TOOLS], env=clean_environment(**NOT_LAZY), capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    unreachable = [line for line in done.stderr.splitlines() if "Retrying (" in line]
    assert unreachable, done.stdout + done.stderr
    return unreachable[-1]


def _purelib(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))


@pytest.fixture(scope="session")
def tools(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `site-packages` of an environment with the wheel and all tools.

    Skips the test if the package index cannot be reached.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, outcome = shared / "tools", shared / "tools.txt"
    with filelock.FileLock(shared / "tools.lock"):
        if not outcome.exists():
            outcome.write_text(_install_tools(folder, request.getfixturevalue("wheel")), encoding="utf-8")
    complaint = outcome.read_text(encoding="utf-8")
    if complaint:
        pytest.skip(f"needs packages from an index that cannot be reached: {complaint}")
    return _purelib(folder)


@pytest.fixture(params=[FIRST, pytest.param(LAST, marks=pytest.mark.slow)])
def order(request: pytest.FixtureRequest) -> str:
    """When the hook is installed: `first`, at the start of Python, or `last`, by `install()` after the other tool."""
    return str(request.param)


@pytest.fixture
def bench(tools: Path, tmp_path: Path, order: str) -> Workbench:
    """Return a workbench for this order; it is activated if the hook is installed first."""
    return _workbench(tools, tmp_path, order)


@pytest.fixture
def activated(tools: Path, tmp_path: Path) -> Workbench:
    """Return an activated workbench, for tools that allow no other order."""
    return _workbench(tools, tmp_path, FIRST)


def _workbench(tools: Path, root: Path, order: str) -> Workbench:
    folder, home, tree = root / "environment", root / "home", root / "tree"
    venv.EnvBuilder(symlinks=True).create(folder)
    (_purelib(folder) / "A-tools.pth").write_text(f"import site; site.addsitedir({str(tools)!r})\n", encoding="utf-8")
    home.mkdir()
    tree.mkdir()
    path = f"{tools.parents[2] / 'bin'}{os.pathsep}{os.environ['PATH']}"  # the location of meson, cmake and ninja
    return Workbench(Python(folder / "bin" / "python", HOME=str(home), PATH=path), root, order)
