"""Test how the package's own modules are loaded for a miss: not by `sys.path`, finders, or name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import Python
from pycachehook import own_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.alone

START = """
import json, sys
import pycachehook
hook = pycachehook.install(sys.argv[1], force_write=True)
from pycachehook import own_modules
json.dumps, own_modules  # lazy imports are resolved here
"""


def run(python: Python, program: str, cache: Path) -> Any:
    """Return the JSON that a program prints after the hook has been installed."""
    return json.loads(python("-c", START + program, cache).stdout)


def test_no_finder_is_asked(python: Python, cache: Path) -> None:
    """A finder before all others sees no module of the package, and a replaced `__import__` is not called."""
    program = """
import builtins
asked = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        asked.append(name)
sys.meta_path.insert(0, Finder())
builtins.__import__ = lambda *arguments: asked.append(arguments[0])
module = own_modules.load("on_miss.compiling")
print(json.dumps([asked, module.__name__, module.compile_and_store.__module__]))
"""
    asked, *names = run(python, program, cache)
    assert asked == []
    assert names == ["pycachehook.on_miss.compiling"] * 2


def test_files_of_the_same_name_are_not_loaded(python: Python, tmp_path: Path, cache: Path) -> None:
    """Another package of this name on `sys.path` has no effect."""
    (tmp_path / "other/pycachehook/on_miss").mkdir(parents=True)
    for name in ("", "on_miss/"):
        (tmp_path / f"other/pycachehook/{name}__init__.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    program = f"""
sys.path.insert(0, {str(tmp_path / "other")!r})
print(json.dumps(own_modules.load("on_miss.writer").__file__))
"""
    assert run(python, program, cache) == str(Path(own_modules.FOLDER) / "on_miss/writer.py")


def test_what_cannot_be_loaded(python: Python, cache: Path) -> None:
    """For a module that cannot be loaded, the result is None, and `sys.modules` is unchanged."""
    program = """
before = sorted(sys.modules)
print(json.dumps([own_modules.load("on_miss.no_such_module"), sorted(set(sys.modules) - set(before))]))
"""
    found, left = run(python, program, cache)
    assert found is None
    assert set(left) <= {"pycachehook.on_miss"}


def test_modules_are_loaded_once_and_named_as_imported(python: Python, cache: Path) -> None:
    """A later import statement gets the same modules, including those that a loaded module imports."""
    program = """
module = own_modules.load("on_miss.compiling")
import pycachehook.on_miss.compiling, pycachehook.on_miss.writer
same = pycachehook.on_miss.compiling is module, own_modules.load("on_miss.compiling") is module
print(json.dumps([*same, pycachehook.on_miss.writer.Source is module.Source, module.__spec__.origin == module.__file__]))
"""
    assert run(python, program, cache) == [True] * 4


def test_modules_that_the_program_has_dropped(python: Python, cache: Path) -> None:
    """The package's modules use those loaded at the start, even after their removal from `sys.modules`."""
    program = """
store = sys.modules["pycachehook.events"]
for name in [name for name in sys.modules if name.startswith("pycachehook")]:
    del sys.modules[name]
module = own_modules.load("on_miss.compiling")
print(json.dumps(module.Outcome is store.Outcome))
"""
    assert run(python, program, cache) is True


def test_package_in_a_zip_file(python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """The hook works in a program that contains this package in a zip file, as a zipapp does."""
    root = tree({"first.py": "1\n", "second.py": "2\n"})
    package = Path(own_modules.__file__ or "").parent
    with zipfile.ZipFile(root / "app.zip", "w") as archive:
        for path in package.rglob("*.py"):
            archive.write(path, path.relative_to(package.parent))
    program = """
import json, sys
sys.path[:0] = sys.argv[2:]
import pycachehook
pycachehook.install(sys.argv[1], force_write=True, in_tree="ignore", layout="shared", gc="pause")
events = []
pycachehook.on_event(lambda event: events.append(event.event) if event.module in ("first", "second") else None)
import first, second
first, second
print(json.dumps([pycachehook.__file__, *events]))
"""
    cold, warm = (json.loads(python("-c", program, cache, root / "app.zip", root).stdout) for _ in range(2))
    inside = str(root / "app.zip" / "pycachehook" / "__init__.py")
    assert cold == [inside, *2 * ("miss", "compiled", "stored")]
    assert warm == [inside, *2 * ("hit",)]
