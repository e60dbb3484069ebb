"""Trace, profile and monitoring functions, and path hooks, that are active during imports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

    from .sides import Sides

LAYOUTS = pytest.mark.parametrize("options", [{}, {"layout": "shared"}], ids=["mirror", "shared"])
SOURCES = {
    "body.py": "def function(a):\n    return a + 1\nvalue = function(1)\n",
    "package/__init__.py": "from . import below\n",
    "package/below.py": "class Class:\n    def method(self):\n        return 3\nClass().method()\n",
}
ACTIVE = {
    "trace": """
def seen(frame, event, value):
    note(event, frame.f_code, frame.f_lineno)
    return seen
sys.settrace(seen)
import body, package
sys.settrace(None)
""",
    "profile": """
def seen(frame, event, value):
    note(event, frame.f_code)
sys.setprofile(seen)
import body, package
sys.setprofile(None)
""",
    "threads": """
import threading
def seen(frame, event, value):
    note(event, frame.f_code, frame.f_lineno)
    return seen
def run():
    import body, package
threading.settrace(seen)
thread = threading.Thread(target=run)
thread.start()
thread.join()
""",
    "monitoring": """
kinds, tool = sys.monitoring.events, sys.monitoring.PROFILER_ID
sys.monitoring.use_tool_id(tool, "test")
for name in ("PY_START", "PY_RETURN", "LINE"):
    sys.monitoring.register_callback(tool, getattr(kinds, name), lambda code, *more, name=name: note(name, code, *more))
sys.monitoring.set_events(tool, kinds.PY_START | kinds.PY_RETURN | kinds.LINE)
import body, package
sys.monitoring.set_events(tool, 0)
""",
    "raising": """
class Stop(OSError):
    pass
def seen(frame, event, value):
    note(event, frame.f_code)
    if event == "call" and frame.f_code.co_name == "function":
        raise Stop
sys.settrace(seen)
try:
    import body
except Stop:
    events.append("stopped")
sys.settrace(None)
import package
""",
}
NOTE = """
events = []
def note(event, code, *more):
    if code.co_filename.startswith(sys.path[0]):
        events.append((event, code.co_filename, code.co_name, *map(repr, more)))
"""


@pytest.fixture
def traced(sides: Sides) -> Sides:
    """Return the three ways to run a program, with modules that have something to trace."""
    for name, text in SOURCES.items():
        path = sides.tree / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return sides


@LAYOUTS
@pytest.mark.parametrize("active", ACTIVE)
def test_events_of_the_program(active: str, options: dict[str, Any], traced: Sides) -> None:
    """A tracer sees the same events of the program's modules as on a standard interpreter."""
    if active == "monitoring" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in Python 3.12")
    found = traced.all(NOTE + ACTIVE[active] + "print(len(events), events)", **options)
    assert int(found["stock"].split()[0]) >= 3
    assert found["cold"] == found["warm"] == found["stock"]


@pytest.mark.full
def test_trace_with_ignored_directories(
    environment: Python, tree: Callable[..., Path], cache: Path, tmp_path: Path, purelib: Callable[[Python], Path]
) -> None:
    """`python -m trace --ignore-dir` reports modules whose names modules of this package have, too."""
    package = purelib(environment) / "pycachehook"
    names = sorted({path.stem for path in [*package.glob("*.py"), *package.glob("on_miss/*.py")]} - {"__main__"})
    assert {"store", "__init__", "writer"} <= set(names)
    program = "def function():\n    return 1\nfunction()\n"
    imports = "".join(f"import {name}\n" for name in names if name != "__init__")
    sources = {f"{name}.py": program for name in names}
    root = tree({**sources, "inner/__init__.py": program, "main.py": f"import inner\n{imports}"})

    def reported(folder: str) -> list[str]:
        options = ("--count", "--coverdir", tmp_path / folder, "--ignore-dir", str(package))
        environment("-m", "trace", *options, root / "main.py", cwd=tmp_path)
        return sorted(path.name for path in (tmp_path / folder).iterdir())

    expected = reported("stock")
    assert len(expected) >= len(names)
    environment("-m", "pycachehook", "enable", "--cache-dir", cache)
    try:
        assert reported("cold") == expected
        assert reported("warm") == expected
    finally:
        environment("-m", "pycachehook", "disable")
    assert len(list(cache.rglob("*.pyc"))) >= len(names)


PATH_HOOKS = """
class Wrapper:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, target=None):
        asked.append(name)
        return self.finder.find_spec(name, target)
    def invalidate_caches(self):
        self.finder.invalidate_caches()
def wrapped(hook):
    return lambda path: Wrapper(hook(path))
asked = []
sys.path_hooks[:] = [wrapped(hook) for hook in sys.path_hooks]
sys.path_importer_cache = {}
import body, package
sys.path_importer_cache = dict.fromkeys(sys.path)
try:
    import lazy1
except ImportError as error:
    asked.append(str(error))
sys.path_importer_cache = {path: object() for path in sys.path}
try:
    import lazy1
except Exception as error:
    asked.append(repr(error))
sys.path_importer_cache = {}
import lazy2
sys.path_hooks.clear()
sys.path_importer_cache.clear()
try:
    import lazy3
except ImportError as error:
    asked.append(str(error))
print(asked, body.value, lazy2.value)
"""


@LAYOUTS
def test_wrapped_path_hooks(options: dict[str, Any], traced: Sides) -> None:
    """Path hooks that a program has wrapped, and finders that it has put in place, are called as usual."""
    found = traced.all(PATH_HOOKS, "-W", "ignore", **options)
    assert found["cold"] == found["warm"] == found["stock"]
    assert "package.below" in found["stock"]
