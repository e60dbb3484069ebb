"""The virtual environments of one interpreter in which the suite is run.

    hook     activated by `pycachehook enable --cache-dir`, with the options of a mode, see `MODES`
    prefix   CPython alone, with `sys.pycache_prefix` set by a line in a `.pth` file
    plain    CPython alone, with its bytecode in the tree

The hook is compared with `prefix`, because many tests assert the in-tree location of their bytecode and fail with any
prefix. `plain` distinguishes those from tests that always fail on this machine. All three have the same packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..sides import PROJECT, clean_environment, set_prefix

DRIVER = Path(__file__).with_name("driver.py")
DRIVER_NAME = "cpython_suite"

QUIETLY = ("-qq", "--disable-pip-version-check")

HOOK, PREFIX, PLAIN = SIDES = ("hook", "prefix", "plain")

# Options of `enable` by the mode's name. `archive`: in front of the cache, an archive that does not check sources.
MODES: dict[str, tuple[str, ...]] = {
    "default": (),
    "shared": ("--layout", "shared"),
    "archive": ("--archives", "ARCHIVE", "--gc", "freeze"),
    "ignore": ("--in-tree", "ignore"),
    "lazy": (),  # on both sides every import is lazy (PEP 810)
}
LAZY = {"PYTHON_LAZY_IMPORTS": "all"}

ABOUT = """
import importlib.util, json, platform
answer = {"version": platform.python_version(), "missing": None, "modules": []}
try:
    import test.support
    answer["modules"] = [name for name in %r if importlib.util.find_spec("test." + name)]
except ImportError as error:
    answer["missing"] = str(error)
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Side:
    """One environment below `root`, whose runs get the variables of `environment`."""

    name: str
    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.root / "venv" / "bin" / "python"

    @property
    def bytecode(self) -> Path:
        """The directory for bytecode, except for `plain`."""
        return self.root / "bytecode"

    def path(self, scheme_path: str) -> Path:
        """Return one of the environment's directories, by its name in `sysconfig`."""
        code = f"import sysconfig; print(sysconfig.get_path({scheme_path!r}))"
        return Path(run(self.python, "-I", "-c", code).strip())

    def check(self, state: dict[str, Any], *, disabled: bool = False) -> None:
        """Check the interpreter's state in a run's report; raises RuntimeError if it is not this environment's.

        `disabled`: with the hook's kill switch set.
        """
        hooked = "CachingFinder" in state["finders"]
        plain = self.name == PLAIN or (self.name == HOOK and disabled)
        prefix = None if plain else str(self.bytecode)
        if hooked != (self.name == HOOK and not disabled) or state["prefix"] != prefix:
            raise RuntimeError(f"not the environment {self.name}: {state}")


def about(python: Path, modules: tuple[str, ...]) -> dict[str, Any]:
    """Return an interpreter's `version` and those of `modules` that its suite has.

    `missing` says why there is no suite.
    """
    answer: dict[str, Any] = json.loads(run(python, "-I", "-c", ABOUT % (modules,)))
    return answer


def make_wheel(folder: Path) -> Path:
    """Return a wheel of this project: the one that `TESTS_WHEEL` names, or one built in `folder`."""
    if given := os.environ.get("TESTS_WHEEL"):
        return Path(given)
    run(Path(sys.executable), "-m", "pip", "wheel", *QUIETLY, "--no-deps", "--wheel-dir", folder, PROJECT)
    return next(folder.glob("*.whl"))


def make_sides(python: Path, wheel: Path, root: Path, mode: str = "default") -> dict[str, Side]:
    """Create the environments of the interpreter `python` for a mode below `root`, and return them by name."""
    sides = {name: Side(name, root / name, LAZY if mode == "lazy" else {}) for name in SIDES}
    for name, side in sides.items():
        run(python, "-m", "venv", "--without-pip", side.root / "venv")
        pip = ("-m", "pip", "--python", side.python, "install", *QUIETLY)
        run(Path(sys.executable), *pip, wheel)
        purelib = side.path("purelib")
        (purelib / DRIVER_NAME).mkdir()
        shutil.copyfile(DRIVER, purelib / DRIVER_NAME / "__main__.py")
        if name == HOOK:
            options = [_archive(side) if option == "ARCHIVE" else option for option in MODES[mode]]
            run(side.python, "-m", "pycachehook", "enable", "--cache-dir", side.bytecode, *options)
        elif name == PREFIX:
            set_prefix(purelib, side.bytecode)
    return sides


def _archive(side: Side) -> Path:
    """Build an archive of the side's environment and its standard library, tests included."""
    out = side.root / "everything.pyca"
    build = ("-m", "pycachehook", "archive", "build", "--invalidation-mode", "unchecked-hash", "--environment", out)
    subprocess.run(  # exits with 1, because CPython's tests contain sources that do not compile
        [side.python, *build],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return out


def run(python: Path, *arguments: str | Path) -> str:
    """Run an interpreter and return its output; raises CalledProcessError, whose message includes the errors."""
    done = subprocess.run([python, *arguments], env=clean_environment(), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
