"""The virtual environments of one interpreter that the suite is run in.

    hook     activated by `pycachehook enable --cache-dir`, no other option
    prefix   CPython alone, with `sys.pycache_prefix` set by a line in a `.pth` file
    plain    CPython alone, with its bytecode in the tree

The hook is compared with `prefix`: many tests assert where in the tree their bytecode lies, and fail wherever a prefix
moves it. `plain` tells those from tests that fail on this machine in any case. All three have the same packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..sides import PROJECT, clean_environment, set_prefix

DRIVER = Path(__file__).with_name("driver.py")
DRIVER_NAME = "cpython_suite"

QUIETLY = ("-qq", "--disable-pip-version-check")

HOOK, PREFIX, PLAIN = SIDES = ("hook", "prefix", "plain")

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
    """One environment below `root`."""

    name: str
    root: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.root / "venv" / "bin" / "python"

    @property
    def bytecode(self) -> Path:
        """The directory that bytecode goes to, but for `plain`."""
        return self.root / "bytecode"

    def path(self, scheme_path: str) -> Path:
        """Return one of the environment's directories, by `sysconfig`'s name for it."""
        code = f"import sysconfig; print(sysconfig.get_path({scheme_path!r}))"
        return Path(run(self.python, "-I", "-c", code).strip())

    def check(self, state: dict[str, Any], *, disabled: bool = False) -> None:
        """Check what a run has said of its interpreter; raises RuntimeError if it was not the environment that it should be.

        `disabled`: under the hook's kill switch.
        """
        hooked = "CachingFinder" in state["finders"]
        plain = self.name == PLAIN or (self.name == HOOK and disabled)
        prefix = None if plain else str(self.bytecode)
        if hooked != (self.name == HOOK and not disabled) or state["prefix"] != prefix:
            raise RuntimeError(f"not the environment {self.name}: {state}")


def about(python: Path, modules: tuple[str, ...]) -> dict[str, Any]:
    """Return an interpreter's `version`, and which of `modules` its suite has; `missing` says why there is none."""
    answer: dict[str, Any] = json.loads(run(python, "-I", "-c", ABOUT % (modules,)))
    return answer


def make_wheel(folder: Path) -> Path:
    """Return a wheel of this project: the one that `TESTS_WHEEL` names, else one made in `folder`."""
    if given := os.environ.get("TESTS_WHEEL"):
        return Path(given)
    run(Path(sys.executable), "-m", "pip", "wheel", *QUIETLY, "--no-deps", "--wheel-dir", folder, PROJECT)
    return next(folder.glob("*.whl"))


def make_sides(python: Path, wheel: Path, root: Path) -> dict[str, Side]:
    """Return the environments of the interpreter `python`, by their names, made anew below `root`."""
    sides = {name: Side(name, root / name) for name in SIDES}
    for name, side in sides.items():
        run(python, "-m", "venv", "--without-pip", side.root / "venv")
        pip = ("-m", "pip", "--python", side.python, "install", *QUIETLY)
        run(Path(sys.executable), *pip, wheel)
        purelib = side.path("purelib")
        (purelib / DRIVER_NAME).mkdir()
        shutil.copyfile(DRIVER, purelib / DRIVER_NAME / "__main__.py")
        if name == HOOK:
            run(side.python, "-m", "pycachehook", "enable", "--cache-dir", side.bytecode)
        elif name == PREFIX:
            set_prefix(purelib, side.bytecode)
    return sides


def run(python: Path, *arguments: str | Path) -> str:
    """Run an interpreter and return what it prints; raises CalledProcessError, with its errors in our own."""
    done = subprocess.run([python, *arguments], env=clean_environment(), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
