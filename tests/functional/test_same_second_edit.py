"""Edits within one second that keep the size: timestamps do not show them (gh-75953), hashes do."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conftest import Python

TRIES = 100
NAMES = [f"module_{number}" for number in range(TRIES)]

HOOK = "import pycachehook; pycachehook.install({cache!r})\n"

IMPORT_ALL = f"""
import importlib, sys
sys.path.insert(0, {{tree!r}})
print(sum(importlib.import_module(f"module_{{{{number}}}}").VALUE for number in range({TRIES})))
"""

EDIT_AND_IMPORT = f"""
import importlib, os, sys, time
sys.path.insert(0, {{tree!r}})
old = new = 0
for number in range({TRIES}):
    path = os.path.join({{tree!r}}, "edited.py")
    for value in (1, 2):
        with open(path, "w") as file:
            file.write(f"VALUE = {{{{value}}}}{{{{number:03}}}}")
        sys.modules.pop("edited", None)
        importlib.invalidate_caches()
        found = importlib.import_module("edited").VALUE
    new += found == int(f"2{{{{number:03}}}}")
print(new)
"""

IMPORT_AND_EDIT = f"""
import importlib, sys, time
sys.path.insert(0, {{tree!r}})
def write(name, value):
    with open({{tree!r}} + "/" + name + ".py", "w") as file:
        file.write(f"VALUE = {{{{value}}}}\\n")
for name in {NAMES!r}:
    write(name, 1)
    importlib.import_module(name)
    time.sleep({{pause}})
    write(name, 2)
"""


def edit(tree: Path, value: int, mtime_ns: int | None = None) -> None:
    """Write the same number of bytes into every module of `tree`, with the given mtime if there is one."""
    for name in NAMES:
        path = tree / f"{name}.py"
        path.write_text(f"VALUE = {value}\n", encoding="utf-8")
        if mtime_ns is not None:
            os.utime(path, ns=(mtime_ns, mtime_ns))


@pytest.mark.parametrize(("hooked", "expected"), [(True, 2 * TRIES), (False, TRIES)], ids=["hook", "stock"])
def test_edit_seen_by_another_process(
    hooked: bool, expected: int, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """With one mtime for both edits, 100 of 100 modules run new code with the hook, and none without."""
    root = tree({f"{name}.py": "" for name in NAMES})
    program = (HOOK if hooked else "").format(cache=str(cache)) + IMPORT_ALL.format(tree=str(root))
    second = int(time.time()) * 10**9
    edit(root, 1, second)
    assert int(python("-c", program).stdout) == TRIES
    edit(root, 2, second)
    assert int(python("-c", program).stdout) == expected


@pytest.mark.parametrize("hooked", [True, False], ids=["hook", "stock"])
def test_edit_as_fast_as_a_generator(
    hooked: bool, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """With real mtimes the hook detects all of 100 edits right after an import, and CPython does not."""
    root = tree({"edited.py": ""})
    program = (HOOK if hooked else "").format(cache=str(cache)) + EDIT_AND_IMPORT.format(tree=str(root))
    seen = int(python("-c", program).stdout)
    assert seen == TRIES if hooked else seen < TRIES


@pytest.mark.parametrize("hooked", [True, False], ids=["hook", "stock"])
def test_edit_between_two_starts(
    hooked: bool, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """With real mtimes and a process for each import, the hook detects ten of ten edits; CPython misses some."""
    root = tree({"edited.py": ""})
    program = (HOOK if hooked else "").format(cache=str(cache)) + "import edited; print(edited.VALUE)"
    seen = []
    for value in range(10, 20):
        (root / "edited.py").write_text(f"VALUE = {value}\n", encoding="utf-8")
        seen.append(int(python("-c", program, PYTHONPATH=str(root)).stdout))
    assert (seen == list(range(10, 20))) is hooked


@pytest.mark.parametrize("pause", [0.0, 0.005], ids=["at once", "a moment later"])
def test_edit_after_stock_left_bytecode(
    pause: float, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """An in-tree pyc from before such an edit is not used for the new source."""
    root = tree({f"{name}.py": "" for name in NAMES})
    import_and_edit = IMPORT_AND_EDIT.format(tree=str(root), pause=pause)
    python("-c", import_and_edit)
    assert len(list(root.rglob("__pycache__/*.pyc"))) == TRIES
    again = IMPORT_ALL.format(tree=str(root))
    stock = int(python("-c", again).stdout)
    found = int(python("-c", HOOK.format(cache=str(cache)) + again).stdout)
    assert stock < 2 * TRIES
    assert found == 2 * TRIES
