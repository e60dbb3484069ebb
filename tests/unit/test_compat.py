"""Test CPython's private names as used by the package, against the documented ones."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import logging
import re
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

from conftest import Python
from pycachehook import _compat


def test_classes_and_numbers_are_the_documented_ones() -> None:
    """The classes come from the frozen module, because `importlib.machinery` loads more."""
    names = ("SourceFileLoader", "PathFinder", "FileFinder", "ExtensionFileLoader", "ModuleSpec")
    assert [getattr(_compat, name) for name in names] == [getattr(importlib.machinery, name) for name in names]
    assert importlib.util.MAGIC_NUMBER == _compat.MAGIC_NUMBER
    assert list(_compat.EXTENSION_SUFFIXES) == importlib.machinery.EXTENSION_SUFFIXES


@pytest.mark.parametrize("source", [b"", b"answer = 42\n", bytes(100_000)])
def test_source_hash(source: bytes) -> None:
    """The hash is that of PEP 552."""
    assert _compat.source_hash(source) == importlib.util.source_hash(source)


@pytest.mark.parametrize("without", [True, False])
def test_set_filename(without: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All nested code has the new file name, also without CPython's private function."""
    if without:
        monkeypatch.setattr(_compat, "_fix_filename", None)
    code = _compat.set_filename(compile("def f():\n    return lambda: 1\n", "/old.py", "exec"), "/new.py")
    found, todo = [], [code]
    while todo:
        each = todo.pop()
        found.append(each.co_filename)
        todo += [constant for constant in each.co_consts if isinstance(constant, types.CodeType)]
    assert found == ["/new.py"] * 3


@pytest.mark.parametrize(("source", "warned"), [("1\n", False), ("'' is 1\n", True)])
def test_note_warnings(source: str, warned: bool) -> None:
    """A warning is recorded even if a filter ignores it, and the filters are restored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = list(warnings.filters)
        _, noted = _compat.note_warnings(compile, source, "m.py", "exec")
        assert (noted, list(warnings.filters)) == (warned, before)


@pytest.mark.parametrize(
    ("entry", "decides"),
    [
        (("default", None, SyntaxWarning, None, 0), False),
        (("ignore", re.compile("text"), SyntaxWarning, "module", 3), False),
        (("error", None, SyntaxWarning, None, 0), True),
        (("ignore", None, SyntaxWarning, None), True),
        (["ignore", None, SyntaxWarning, None, 0], True),
        (("unknown", None, SyntaxWarning, None, 0), True),
        (("ignore", types.SimpleNamespace(match=print), SyntaxWarning, None, 0), True),
        (("ignore", None, SyntaxWarning, types.SimpleNamespace(match=print), 0), True),
        (("ignore", None, "SyntaxWarning", None, 0), True),
        (("ignore", None, SyntaxWarning, None, "0"), True),
    ],
)
def test_filters_that_may_raise(entry: Any, decides: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters decide about an import if one of them makes a warning an exception, or if CPython does not accept it."""
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings():
        warnings.filters[:] = [entry]  # type: ignore[index]
        assert _compat.filters_decide() is decides


def test_functions_that_show_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of the program that shows warnings may raise; those of `warnings` and `logging` do not."""
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings(record=True):
        warnings.filters[:] = []  # type: ignore[index]
        assert not _compat.filters_decide()
        logging.captureWarnings(True)
        try:
            assert not _compat.filters_decide()
        finally:
            logging.captureWarnings(False)
        for replacement in (lambda *_, **__: None, print, types.SimpleNamespace()):
            with monkeypatch.context() as patch:
                patch.setattr(warnings, "showwarning", replacement)
                assert _compat.filters_decide()


def test_new_digest() -> None:
    """The digest is BLAKE2b, starting with the prefix."""
    digest = _compat.new_digest(b"prefix", 20)
    digest.update(b"source")
    assert digest.hexdigest() == hashlib.blake2b(b"prefixsource", digest_size=20).hexdigest()


def test_standard_module_is_not_searched_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the same name on `sys.path` is not loaded, and `sys.modules` is unchanged."""
    tmp_path.joinpath("_blake2.py").write_text("raise SystemExit\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "_blake2", raising=False)
    before = set(sys.modules)
    assert callable(_compat.standard_module("_blake2").blake2b)
    assert set(sys.modules) == before
    assert _compat.standard_module("no_such_module") is None


LOCATE = """
import sys, traceback
import pycachehook, pycachehook.loader
pycachehook.install(sys.argv[1])
print(pycachehook.loader.CachingLoader.get_code.__code__.co_filename)
try:
    import broken
except SyntaxError as error:
    print("loader.py" in "".join(traceback.format_tb(error.__traceback__)))
"""


@pytest.mark.alone
def test_frames_can_be_shown(python: Python, tmp_path: Path, cache: Path) -> None:
    """Frames of the loader count as importlib's, unless PYCACHEHOOK_FRAMES is set; `-E` ignores the variable."""
    tmp_path.joinpath("broken.py").write_text("x = (\n", encoding="utf-8")
    loader = str(Path(_compat.__file__).with_name("loader.py"))
    frozen = "<frozen importlib._bootstrap_external>"
    there = python.within({"PYTHONPATH": str(tmp_path)})
    assert there("-c", LOCATE, cache).stdout.splitlines() == [frozen, "False"]
    assert there("-c", LOCATE, cache, PYCACHEHOOK_FRAMES="1").stdout.splitlines() == [loader, "True"]
    isolated = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{LOCATE}"
    assert python("-E", "-c", isolated, cache, PYCACHEHOOK_FRAMES="1").stdout.splitlines() == [frozen, "False"]


BREAK = """
import bdb, sys
import pycachehook, pycachehook.loader
pycachehook.install(sys.argv[1])
code = pycachehook.loader.CachingLoader.get_code.__code__
stops = []
class Debugger(bdb.Bdb):
    def user_line(self, frame):
        if self.get_break(frame.f_code.co_filename, frame.f_lineno):
            stops.append((frame.f_code.co_name, frame.f_lineno))
        self.set_continue()
debugger = Debugger()
line = min(number for _, _, number in code.co_lines() if number and number > code.co_firstlineno + 1)
assert debugger.set_break(pycachehook.loader.__file__, line) is None
debugger.runcall(__import__, "subject")
print(stops == [("get_code", line)])
"""


@pytest.mark.alone
def test_breakpoints_in_the_loader(python: Python, tmp_path: Path, cache: Path) -> None:
    """A debugger stops in the loader only if its frames are shown."""
    tmp_path.joinpath("subject.py").write_text("answer = 42\n", encoding="utf-8")
    for shown in ("1", ""):
        process = python("-c", BREAK, cache, PYTHONPATH=str(tmp_path), PYCACHEHOOK_FRAMES=shown)
        assert process.stdout == f"{bool(shown)}\n"


@pytest.mark.alone
def test_coverage_of_the_loader(python: Python, tmp_path: Path, cache: Path) -> None:
    """Coverage counts lines of the loader's functions if its frames are shown."""
    pytest.importorskip("coverage")
    tmp_path.joinpath("subject.py").write_text("answer = 42\n", encoding="utf-8")
    program = (
        "import sys, coverage; measured = coverage.Coverage(data_file=None, source_pkgs=['pycachehook']); measured.start()\n"
        "import pycachehook, pycachehook.loader; pycachehook.install(sys.argv[1]); import subject; measured.stop()\n"
        "lines = set(measured.get_data().lines(pycachehook.loader.__file__))\n"
        "import inspect\n"
        "body, first = inspect.getsourcelines(pycachehook.loader.CachingLoader._compile)\n"
        "print(len(lines & set(range(first + 3, first + len(body)))) > 5)\n"
    )
    process = python("-c", program, cache, PYTHONPATH=str(tmp_path), PYCACHEHOOK_FRAMES="1")
    assert process.stdout == "True\n"
