"""Damaged entries: the right code runs, and a sound entry replaces the damaged one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conftest import Python

SOURCE = {"small.py": 'def answer(b=2):\n    """Multiply."""\n    return 21 * b\n\nRESULT = answer()\n'}
RESULT = 42
SEAL_SIZE = 28

# Damages one entry in every way, imports the module again each time, and prints every unexpected result.
PROGRAM = f"""
import importlib, json, pycachehook, sys
sys.path.insert(0, {{root!r}})
hook = pycachehook.install({{cache!r}}, invalidation_mode={{mode!r}})
import small
path = small.__spec__.cached
with open(path, "rb") as file:
    whole = file.read()
if {{read_only}}:
    hook = pycachehook.install({{cache!r}}, invalidation_mode={{mode!r}}, read_only=True)
tried, wrong = 0, []
for position, data in {{damage}}:
    with open(path, "wb") as file:
        file.write(data)
    before = dict(hook.stats.misses)
    del sys.modules["small"]
    result = error = None
    try:
        result = importlib.import_module("small").RESULT
    except BaseException as caught:
        error = repr(caught)
    with open(path, "rb") as file:
        found = file.read()
    misses = {{{{name: count - before.get(name, 0) for name, count in hook.stats.misses.items()}}}}
    misses = {{{{name: count for name, count in misses.items() if count}}}}
    tried += 1
    if result != {RESULT} or found != (data if {{read_only}} else whole) or misses != {{{{"corrupt": 1}}}}:
        wrong.append([position, result, error, found == whole, misses])
print(json.dumps({{{{"tried": tried, "size": len(whole), "wrong": wrong}}}}))
"""

TRUNCATED = "((length, whole[:length]) for length in range(len(whole)))"
FLIPPED = (
    "(([position, mask], whole[:position] + bytes([whole[position] ^ mask]) + whole[position + 1:])"
    " for mask in {masks} for position in range(len(whole)))"
)
ALL_MASKS = (1, 2, 4, 8, 16, 32, 64, 128, 255)
FEW_MASKS = (1, 2, 255)  # the first two change the mode if they hit the flags; the seal finds all in the same way
MODE = pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash", "timestamp"])


@MODE
@pytest.mark.parametrize(
    "read_only", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["writable", "read-only"]
)
def test_every_flipped_byte(
    read_only: bool, mode: str, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """For each flipped byte of an entry, it counts as corrupt, the right code runs, and the entry is replaced."""
    masks = ALL_MASKS if mode == "checked-hash" and read_only else FEW_MASKS
    damage = FLIPPED.format(masks=masks)
    program = PROGRAM.format(root=str(tree(SOURCE)), cache=str(cache), mode=mode, read_only=read_only, damage=damage)
    report = json.loads(python("-c", program).stdout)
    assert report["tried"] == len(masks) * report["size"] > len(masks) * 200
    assert report["wrong"] == []


@MODE
@pytest.mark.parametrize("read_only", [False, True], ids=["writable", "read-only"])
def test_every_truncation(
    read_only: bool, mode: str, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """Each truncated entry counts as corrupt and is replaced; one without just its seal is a sound pyc."""
    program = PROGRAM.format(root=str(tree(SOURCE)), cache=str(cache), mode=mode, read_only=read_only, damage=TRUNCATED)
    report = json.loads(python("-c", program).stdout)
    assert report["tried"] == report["size"] > 200
    assert report["wrong"] == [[report["size"] - SEAL_SIZE, RESULT, None, False, {}]]


@pytest.mark.parametrize("length", [0, 3, 15, 16, 17, 60, 120])
def test_damaged_entry_at_a_fresh_start(
    length: int, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """A truncated entry, on some of which CPython fails, costs one compilation in the next process only."""
    root = tree(SOURCE)
    program = (
        f"import pycachehook, json; hook = pycachehook.install({str(cache)!r})\n"
        "import small; print(json.dumps([small.RESULT, hook.stats.misses.get('corrupt', 0), small.__spec__.cached]))"
    )
    entry = json.loads(python("-c", program, PYTHONPATH=str(root)).stdout)[2]
    with open(entry, "r+b") as file:
        file.truncate(length)
    stock = python("-B", "-c", "import small", check=False, PYTHONPATH=str(root), PYTHONPYCACHEPREFIX=str(cache))
    assert ("EOFError" in stock.stderr) == (length >= 16)
    for corrupt in (1, 0):
        assert json.loads(python("-c", program, PYTHONPATH=str(root)).stdout)[:2] == [RESULT, corrupt]


def test_every_truncation_of_a_pyc_in_the_tree(
    python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """A truncated in-tree pyc is ignored and left unchanged."""
    root = tree(SOURCE)
    python("-m", "compileall", "-q", root)
    (pyc,) = root.rglob("*.pyc")
    whole = pyc.read_bytes()
    program = f"""
import importlib, json, pycachehook, shutil, sys
sys.path.insert(0, {str(root)!r})
hook = pycachehook.install({str(cache)!r})
wrong = []
for length in range({len(whole)}):
    with open({str(pyc)!r}, "wb") as file:
        file.write({whole!r}[:length])
    shutil.rmtree({str(cache / str(root)[1:])!r}, ignore_errors=True)
    sys.modules.pop("small", None)
    result = importlib.import_module("small").RESULT
    with open({str(pyc)!r}, "rb") as file:
        if result != {RESULT} or len(file.read()) != length:
            wrong.append(length)
print(json.dumps([wrong, hook.stats.misses["corrupt"]]))
"""
    assert len(whole) > 200
    assert json.loads(python("-c", program).stdout) == [[], len(whole)]
