"""Test the rules for the code's structure against the code."""

from __future__ import annotations

import ast
import graphlib
import importlib
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from conftest import PROJECT, Python, clean_environment

SOURCES = PROJECT / "src"
PACKAGE = SOURCES / "pycachehook"
FILES = sorted(SOURCES.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCES)) for path in FILES]

MOST_LINES, MOST_LINES_OF_A_FUNCTION, FEWEST_EQUAL_LINES = 350, 60, 6

# A longer module or function contains this text with a reason.
LONG_MODULES = {
    "pycachehook/_compat.py": "one more module would slow down every start.",
    "pycachehook/runtime.py": "one more module would slow down every start.",
}
LONG_FUNCTIONS = {
    ("pycachehook/hook.py", "install"): "has one line for each option",
    ("pycachehook/path_search.py", "find_in_listings"): "This is one long function because a function call here",
}

# Test files with another name than their module: those of `__init__` and `__main__`.
TESTED_AS = {"__init__": "test_package.py", "__main__": "test_main.py", "_compat": "test_compat.py"}


@pytest.mark.parametrize("name", NAMES)
def test_length_of_modules(name: str) -> None:
    """A module has at most 350 lines, or says why it has more."""
    text = (SOURCES / name).read_text(encoding="utf-8")
    reason = LONG_MODULES.get(name)
    assert (len(text.splitlines()) > MOST_LINES) == (reason is not None)
    assert reason is None or reason in " ".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_length_of_functions(name: str) -> None:
    """A function has at most 60 lines, or says why it has more."""
    text = (SOURCES / name).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            reason = LONG_FUNCTIONS.get((name, node.name))
            length = node.end_lineno - node.lineno + 1
            if length <= MOST_LINES_OF_A_FUNCTION:
                continue
            assert reason is not None, (node.name, length)
            assert reason in " ".join((ast.get_source_segment(text, node) or "").split())


def test_exceptions_exist() -> None:
    """Each permitted exception exists."""
    assert set(LONG_MODULES) <= set(NAMES)
    for name, function in LONG_FUNCTIONS:
        assert f"def {function}(" in (SOURCES / name).read_text(encoding="utf-8")


def test_no_duplicates() -> None:
    """No six lines of code occur twice, in any indentation; imports do not count."""
    places = defaultdict(list)
    for path, name in zip(FILES, NAMES, strict=True):
        text = path.read_text(encoding="utf-8")
        left_out = set[int]()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                assert node.end_lineno is not None
                left_out.update(range(node.lineno, node.end_lineno + 1))
        lines = [
            (number, line.strip())
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.strip().startswith("#") and number not in left_out
        ]
        for start in range(len(lines) - FEWEST_EQUAL_LINES + 1):
            part = lines[start : start + FEWEST_EQUAL_LINES]
            places[tuple(line for _, line in part)].append((name, part[0][0]))
    assert {lines: where for lines, where in places.items() if len(where) > 1} == {}


def test_each_top_level_module_has_unit_tests() -> None:
    """Each has a test file with the module's name."""
    present = {path.name for path in (PROJECT / "tests/unit").glob("test_*.py")}
    expected = {TESTED_AS.get(path.stem, f"test_{path.stem}.py") for path in PACKAGE.glob("*.py")}
    assert sorted(expected - present) == []


def test_private_names_of_cpython() -> None:
    """Only `_compat`, `system`, and the start-up file, which is used without the package, import private modules.

    Private modules that only contain documented functions written in C may be imported anywhere.
    """
    documented = {"_io", "_thread", "_weakref"}
    alone = {"_compat.py", "system.py", "activation.py"}
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if any(name.startswith("_") for name in {*names} - documented - {"__future__"}) and path.name not in alone:
                found.add(path.name)
    assert found == set()


@pytest.fixture(scope="module")
def graph() -> list[str]:
    """Return the output of the program that draws the folders."""
    program = [sys.executable, str(PROJECT / "docs/import_graph.py")]
    process = subprocess.run(program, capture_output=True, text=True, check=True, env=clean_environment())
    return process.stdout.splitlines()


def test_imports_between_folders(graph: list[str]) -> None:
    """Imports go downward only, and loading a top-level module imports no sub-package."""
    pairs = [line.partition(":")[0] for line in graph]
    assert "upward" not in pairs
    assert [pair for pair in pairs if pair.startswith("top level")] == []
    assert {"cli -> commands", "commands -> on_miss", "on_miss -> top level"} <= set(pairs)


def test_the_top_level_has_no_circle() -> None:
    """Its modules import each other, when they are loaded, in one order."""
    sys.path.insert(0, str(PROJECT / "docs"))
    try:
        graph = importlib.import_module("import_graph")
    finally:
        sys.path.remove(str(PROJECT / "docs"))
    below: dict[str, set[str]] = {}
    for each in graph.imports():
        if graph.folder(each.importer) == graph.TOP and not each.deferred:
            below.setdefault(each.importer, set()).add(each.imported)
    order = [*graphlib.TopologicalSorter(below).static_order()]  # raises CycleError
    assert order.index("system") < order.index("store") < order.index("loader") < order.index("runtime")


ENABLED = """
import json, site, sys
site.addsitedir(sys.argv[1])
sys.path.insert(0, sys.argv[2])
if len(sys.argv) > 3:
    import subject
    assert type(subject.__spec__.loader).__name__ == "CachingLoader", subject.__spec__
folders = sorted(name for name in sys.modules if name.startswith("pycachehook.") and "__path__" in vars(sys.modules[name]))
print(json.dumps(folders))
"""


@pytest.mark.alone
def test_a_start_and_a_hit_load_no_sub_package(python: Python, tmp_path: Path, cache: Path) -> None:
    """Neither `sys.modules` nor `-X importtime` shows one after a start and a hit."""
    site, tree = tmp_path / "site", tmp_path / "tree"
    site.mkdir()
    tree.mkdir()
    (tree / "subject.py").write_text("answer = 42\n", encoding="utf-8")
    enabling = (
        "import sys; from pathlib import Path; from pycachehook import hook\n"
        "from pycachehook.commands.enable import enable; from pycachehook.config.resolution import resolve\n"
        "enable(Path(sys.argv[1]), resolve({'cache_dir': sys.argv[2]}))\n"
    )
    python("-c", enabling, site, cache)
    python("-c", ENABLED, site, tree, "import")  # this run stores the entry
    for words in ([], ["import"]):
        process = python("-X", "importtime", "-c", ENABLED, site, tree, *words)
        assert process.stdout == "[]\n"
        imported = [line.rpartition("|")[2].strip() for line in process.stderr.splitlines() if "|" in line]
        assert "_pycachehook_startup" in imported
        assert ("subject" in imported) == bool(words)
        assert [name for name in imported if name.startswith("pycachehook.") and name.count(".") > 1] == []
