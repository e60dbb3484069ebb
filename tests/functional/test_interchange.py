"""Entries are ordinary pycs: CPython and this package use each other's files, and neither rewrites them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conftest import Python

    from .conftest import Measure

SOURCES = {
    "demo/__init__.py": "from demo.part import answer\n",
    "demo/part.py": '"""A part."""\n\ndef answer():\n    """Return it."""\n    return 42\n',
    "main.py": "import demo\n\nprint(demo.answer())\n",
}
NAMES = ("demo", "demo.part", "main")
FLAGS = {"timestamp": 0, "unchecked-hash": 1, "checked-hash": 3}
OPTIMIZE = pytest.mark.parametrize("optimize", [(), ("-O",), ("-OO",)], ids=["plain", "-O", "-OO"])
MODE = pytest.mark.parametrize("mode", list(FLAGS))


def hook(cache: Path, **options: str) -> str:
    """Return code that installs the hook and imports the sources."""
    return f"import pycachehook; pycachehook.install({str(cache)!r}, **{options!r}); import main"


def entries(cache: Path, root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return, by path, the inode, mtime in nanoseconds and bytes of the entry of every source below `root`."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in (cache / str(root)[1:]).rglob("*.pyc")
    }


@OPTIMIZE
@MODE
def test_cpython_loads_ours(
    mode: str, optimize: tuple[str, ...], python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """In each mode CPython with `PYTHONPYCACHEPREFIX` accepts every entry and leaves it unchanged."""
    root = tree(SOURCES)
    wrote = python(*optimize, "-c", hook(cache, invalidation_mode=mode), PYTHONPATH=str(root))
    before = entries(cache, root)
    read = python(*optimize, "-v", "-c", "import main", PYTHONPATH=str(root), PYTHONPYCACHEPREFIX=str(cache))

    assert wrote.stdout == read.stdout == "42\n"
    assert sorted(int.from_bytes(data[4:8], "little") for _, _, data in before.values()) == [FLAGS[mode]] * len(NAMES)
    for path in before:
        assert f"# {path} matches {root}" in read.stderr
    assert not [line for line in read.stderr.splitlines() if line.startswith("# wrote") and str(root) in line]
    assert entries(cache, root) == before


@OPTIMIZE
@MODE
def test_ours_loads_what_compileall_wrote(
    *,
    mode: str,
    optimize: tuple[str, ...],
    python: Python,
    cache: Path,
    tree: Callable[[Mapping[str, str]], Path],
    measure: Measure,
) -> None:
    """In each mode pycs that compileall wrote into the cache are hits and stay unchanged."""
    root = tree(SOURCES)
    python(*optimize, "-m", "compileall", "-q", "--invalidation-mode", mode, root, PYTHONPYCACHEPREFIX=str(cache))
    before = entries(cache, root)
    stats = measure(python, *optimize, "-c", hook(cache, invalidation_mode=mode), PYTHONPATH=str(root))

    assert len(before) == len(NAMES)
    assert measure.output == "42\n"
    assert (stats["compiled"], stats["misses"], stats["hits_by_place"]["store"]) == (0, {}, len(NAMES))
    assert entries(cache, root) == before


@pytest.mark.parametrize("written", ["unchecked-hash", "checked-hash"])
@pytest.mark.parametrize("read", ["unchecked-hash", "checked-hash", "timestamp"])
def test_hash_based_entries_serve_every_mode(
    *, written: str, read: str, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path], measure: Measure
) -> None:
    """Hash-based pycs of compileall are hits in all modes, and are not rewritten."""
    root = tree(SOURCES)
    python("-m", "compileall", "-q", "--invalidation-mode", written, root, PYTHONPYCACHEPREFIX=str(cache))
    before = entries(cache, root)
    options = {} if read == "checked-hash" else {"invalidation_mode": read}
    stats = measure(python, "-c", hook(cache, **options), PYTHONPATH=str(root))

    assert (stats["compiled"], stats["misses"], stats["hits_by_place"]["store"]) == (0, {}, len(NAMES))
    assert entries(cache, root) == before


def test_timestamp_entry_is_replaced_by_default(
    python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """In the default mode a timestamp-based entry is a miss with its own reason, and is replaced."""
    root = tree(SOURCES)
    python("-m", "compileall", "-q", "--invalidation-mode", "timestamp", root, PYTHONPYCACHEPREFIX=str(cache))
    log = python("-c", hook(cache), PYTHONPATH=str(root), PYCACHEHOOK_LOG="stderr").stderr

    flags = [int.from_bytes(data[4:8], "little") for _, _, data in entries(cache, root).values()]
    assert all(f": {name}: miss (other-mode) {root}" in log for name in NAMES)
    assert flags == [FLAGS["checked-hash"]] * len(NAMES)


@pytest.mark.parametrize(("written", "edited"), [("unchecked-hash", 0), ("checked-hash", 1)])
def test_edit_after_compileall(
    written: str, edited: int, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """The default mode checks the source whatever the entry's flag says; `unchecked-hash` does not."""
    root = tree(SOURCES)
    python("-m", "compileall", "-q", "--invalidation-mode", written, root, PYTHONPYCACHEPREFIX=str(cache))
    (root / "demo" / "part.py").write_text(SOURCES["demo/part.py"].replace("42", "43"), encoding="utf-8")
    told = hook(cache, invalidation_mode="unchecked-hash")
    unchecked = python("-c", told, PYTHONPATH=str(root), PYCACHEHOOK_LOG="stderr")
    assert unchecked.stderr.count(f" miss (stale-source) {root}") == edited
    assert unchecked.stdout == ("43\n" if edited else "42\n")
    assert python("-c", hook(cache), PYTHONPATH=str(root)).stdout == "43\n"


@MODE
def test_entry_is_a_program(mode: str, python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """`python entry.pyc` runs the entry."""
    root = tree(SOURCES)
    python("-c", hook(cache, invalidation_mode=mode), PYTHONPATH=str(root))
    (entry,) = cache.rglob("main.*.pyc")
    assert python(entry, PYTHONPATH=str(root)).stdout == "42\n"
    (root / "main.py").unlink()
    assert python(entry, PYTHONPATH=str(root)).stdout == "42\n"


def test_entry_of_the_cache_is_compileall_s_place(
    python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """An entry's path is the one that compileall uses, also below unusual directory names."""
    odd = {f"{folder}/odd_{number}.py": "X = 1\n" for number, folder in enumerate((".hidden", "two.dots", "a b", "é"))}
    root = tree(odd)
    path = os.pathsep.join(str(root / name.partition("/")[0]) for name in odd)
    imports = "import odd_0, odd_1, odd_2, odd_3"
    install = f"import pycachehook; pycachehook.install({str(cache)!r}); "
    python("-c", install + imports, PYTHONPATH=path)
    before = entries(cache, root)
    python("-m", "compileall", "-q", "-f", root, PYTHONPYCACHEPREFIX=str(cache))
    after = entries(cache, root)
    assert len(before) == len(odd)
    assert before.keys() == after.keys()
