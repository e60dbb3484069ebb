"""Command lines of every kind have the same outcome without the hook, with an empty cache, and with a full one.

The outcome is the exit code, the output, and what the program prints about its interpreter: the names in
`sys.modules`, flags, warnings, tracebacks, threads.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment
from pycachehook.gc_control import FreezingLoader, PausingLoader
from pycachehook.loader import CachingLoader

from .. import sides
from ..harness import write_tree
from .table import COMMANDS, FILES, Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

LOADERS = (CachingLoader, PausingLoader, FreezingLoader)
OPTIONS = {
    "default": (),
    "ignore": ("--in-tree", "ignore"),
    "shared": ("--layout", "shared"),
    "freeze": ("--gc", "freeze"),
}


@dataclass
class Bench:
    """A tree of programs, and two environments at paths of the same length: without the hook and with it.

    `loaded`: built-in modules that the hook's options load, and a program sees. `library`: whether the cache gets
    entries of the standard library, too.
    """

    tree: Path
    stock: Path
    hooked: Path
    loaded: tuple[str, ...]
    library: bool

    def run(self, python: Path, command: Command) -> tuple[int, str, str]:
        """Run a command line; return its exit code, output and errors, with what differs by design made equal."""
        root = python.parents[2]
        temporary = root / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        names = {"TMP": str(temporary)}
        arguments = [
            re.sub("TMP", names["TMP"], each.replace("LIB", str(Path(pytest.__file__).parent)))
            for each in command.arguments
        ]
        done = subprocess.run(
            [python, *arguments],
            cwd=self.tree,
            env=clean_environment(PYTHONHASHSEED="0", HOME=str(temporary), TMPDIR=str(temporary), PAGER="cat"),
            input=command.stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

        def equal(text: str) -> str:
            text = text.replace(str(root), "<root>")
            text = re.sub(r"pycachehook\.\w+\.\w+Loader\b", "_frozen_importlib_external.SourceFileLoader", text)
            for kind in LOADERS:
                text = text.replace(kind.__name__, "SourceFileLoader")
            for name in self.loaded:
                text = re.sub(
                    rf"{name!r}, |^(import |import time: [|\d ]*)'?{name}'?( #.*)?\n", "", text, flags=re.MULTILINE
                )
            return re.sub(r"0x[0-9a-f]+", "0x", text)

        return done.returncode, command.stdout(equal(done.stdout)), command.stderr(equal(done.stderr))

    def entries(self) -> dict[str, int]:
        """Return the files in the hook's cache and the times of their last change."""
        cache = self.hooked.parents[2] / "cache"
        return {str(path): path.stat().st_mtime_ns for path in cache.rglob("*.pyc")}

    def forget(self) -> None:
        """Empty the hook's cache, but for the hook's own files."""
        for path in (self.hooked.parents[2] / "cache").rglob("*.pyc"):
            path.unlink()


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == "default" else [pytest.mark.slow]) for name in OPTIONS],
)
def bench(
    request: pytest.FixtureRequest, make_environment: Callable[..., Python], tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    """Return the tree, and the environments with one set of options."""
    tree = tmp_path_factory.mktemp("tree")
    write_tree(tree, FILES)
    with zipfile.ZipFile(tree / "folder.pyz", "w") as archive:
        for name in ("__main__.py", "beside.py"):
            archive.writestr(name, FILES[f"folder/{name}"])
    pythons = []
    for side in ("stock", "hooks"):
        root = tmp_path_factory.mktemp("side") / side
        root.mkdir()
        made = Path(make_environment().executable).parents[1]
        made.rename(root / "environment")
        pythons.append(root / "environment" / "bin" / "python")
    stock, hooked = pythons
    library = next(stock.parents[1].glob("lib/python*/site-packages"))
    sides.set_prefix(library, stock.parents[2] / "cache")
    enable = ("-m", "pycachehook", "enable", "--cache-dir", str(hooked.parents[2] / "cache"), *OPTIONS[request.param])
    subprocess.run([str(hooked), *enable], env=clean_environment(), check=True, capture_output=True)
    return Bench(
        tree,
        stock,
        hooked,
        ("atexit", "gc", "itertools") if request.param == "freeze" else (),
        request.param == "ignore",
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * command.slow) for name, command in COMMANDS.items()]
)
def test_command_line(name: str, bench: Bench) -> None:
    """Without the hook, with an empty cache and with a full one: same exit code, output, and state."""
    command = COMMANDS[name]
    bench.forget()
    stock = bench.run(bench.stock, command)
    cold = bench.run(bench.hooked, command)
    stored = bench.entries()
    warm = bench.run(bench.hooked, command)
    assert cold == stock
    assert warm == stock
    assert bool(stored) >= command.cached
    assert command.cached or not stored or bench.library
    assert bench.entries() == stored
