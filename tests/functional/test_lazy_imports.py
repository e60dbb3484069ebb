"""Python 3.15 with lazy imports enabled everywhere (PEP 810), which the package's own modules must not be affected by."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycachehook

if TYPE_CHECKING:
    from conftest import Python

pytestmark = [
    pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports came with Python 3.15 (PEP 810)"),
    pytest.mark.alone,
]

Tree = Callable[[Mapping[str, str]], Path]
LEFT = """
def left():
    import sys
    modules = [(name, module) for name, module in sys.modules.items() if name.startswith("pycachehook")]
    return [f"{name}: {value}" for name, module in modules for value in vars(module).values() if type(value).__name__ == "lazy_import"]
print(left(), sys.get_lazy_imports())
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a directory with a copy of the package without bytecode."""
    folder = tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(pycachehook.__file__).parent, folder / "pycachehook", ignore=ignored)
    return folder


@pytest.mark.parametrize("options", ["layout='mirror'", "layout='shared'", "gc='freeze'", "in_tree='ignore'"])
@pytest.mark.parametrize("mode", ["option", "variable", "call"])
def test_no_lazy_import_is_left(mode: str, options: str, package: Path, python: Python, cache: Path) -> None:
    """After `install` none of the package's modules contains a lazy import, and the cache holds only the program's."""
    (package / "probe.py").write_text("value = 1\n")
    program = f"""
import sys
if {mode == "call"}: sys.set_lazy_imports("all")
import pycachehook
from pycachehook import install
hook = install({str(cache)!r}, {options})
import probe
probe
print(hook.stats.stored)
{LEFT}"""
    there = python.within(
        {"PYTHONPATH": str(package), **({"PYTHON_LAZY_IMPORTS": "all"} if mode == "variable" else {})}
    )
    option = ["-X", "lazy_imports=all"] if mode == "option" else []
    for stored in (1, 0):
        assert there(*option, "-c", program).stdout == f"{stored}\n[] all\n"
    assert len([*cache.rglob("*.pyc")]) == 1


def test_modules_for_a_miss_that_were_imported_before(package: Path, python: Python, cache: Path) -> None:
    """A miss can use modules that a program has imported itself, and whose own imports are lazy."""
    (package / "probe.py").write_text("value = 1\n")
    program = f"""
import sys, pycachehook
import pycachehook.on_miss.compiling, pycachehook.on_miss.writer
hook = pycachehook.install({str(cache)!r}, in_tree="ignore")
from pycachehook.on_miss import compiling, single_flight
compiling, single_flight
before = hook.stats.errors
import probe
probe
print(hook.stats.errors - before, [path for path in sys.argv[1:] if "probe" in path])
{LEFT}"""
    there = python.within({"PYTHONPATH": str(package)})
    assert there("-X", "lazy_imports=all", "-c", program).stdout == "0 []\n[] all\n"
    assert [path for path in cache.rglob("*.pyc") if path.name.startswith("probe.")]


def test_filters_see_only_modules_of_the_program(package: Path, python: Python, cache: Path) -> None:
    """The filter of a program, which may raise anything, is not called for the modules that a miss loads."""
    (package / "probe.py").write_text("value = 1\n")
    program = f"""
import sys, pycachehook
hook = pycachehook.install({str(cache)!r})
sys.set_lazy_imports("all")
asked = []
def refuse(importing, imported, names):
    asked.append(imported)
    raise RuntimeError(imported)
sys.set_lazy_imports_filter(refuse)
def eager():
    import probe
eager()
print(asked, hook.stats.stored)
"""
    assert python("-c", program, PYTHONPATH=str(package)).stdout == "[] 1\n"


THREADS = """
import sys, threading
import first, package
from package import second
from package.third import value
barrier, out = threading.Barrier(8), []
def work():
    barrier.wait()
    out.append((first.value, second.value, package.VALUE, value))
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(out, [name for name in ("first", "package.second", "package.third") if name in sys.modules])
"""


@pytest.mark.parametrize("layout", ["mirror", "shared", "archive"])
def test_threads_resolve_lazy_imports_at_the_same_time(layout: str, tree: Tree, python: Python, cache: Path) -> None:
    """Threads that resolve the same lazy imports get the values that they get without the hook, cold and warm."""
    root = tree(
        {
            "main.py": THREADS,
            "first.py": "from package import second\nimport package.third\nvalue = second.value + 1\n",
            "package/__init__.py": "from . import second, third\nVALUE = 7\n",
            "package/second.py": "from .third import value as base\nvalue = base + 1\n",
            "package/third.py": "import decimal, first\nvalue = int(decimal.Decimal(5))\n",
        }
    )
    lazily = python.within({"PYTHON_LAZY_IMPORTS": "all"})
    archive = cache.with_suffix(".pyca")
    options = ["--layout", layout]
    if layout == "archive":
        lazily("-m", "pycachehook", "archive", "build", "--path", root, archive)
        options = ["--archives", str(archive)]
    stock = lazily("-B", root / "main.py").stdout
    assert stock.count("(7, 6, 7, 5)") == 8
    for _ in range(3):
        done = lazily("-m", "pycachehook", "run", "--cache-dir", cache, *options, root / "main.py")
        assert (done.stdout, done.stderr) == (stock, "")


@pytest.mark.parametrize("program", [["-c", "1 / 0"], ["program.py"], ["-m", "module"]], ids=lambda each: each[0])
def test_run_loads_nothing_from_the_directory_of_the_program(program: list[str], tree: Tree, python: Python) -> None:
    """`run` has loaded what it needs before the program's directory is on `sys.path`; the program imports lazily."""
    names = ("linecache", "marshal", "types", "warnings", "stat", "runpy", "json", "argparse", "filelock", "tempfile")
    shown = f"import sys\n{LEFT}"
    shadows = {f"program/{name}.py": f"raise SystemExit('{name} of the program')\n" for name in names}
    root = tree(
        {
            **shadows,
            "start.py": "import sys\nfrom pycachehook.__main__ import start\nsys.exit(start())\n",
            "program/program.py": shown,
            "program/module.py": shown,
        }
    )
    lazily: list[str | Path] = ["-X", "lazy_imports=all", root / "start.py", "run"]
    done = python(*lazily, *program, cwd=root / "program", check=False)
    if program[0] == "-c":
        assert "of the program" not in done.stderr
        assert "ZeroDivisionError" in done.stderr
    else:
        assert (done.stdout, done.stderr) == ("[] all\n", "")
