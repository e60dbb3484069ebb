"""Where an entry lies: CPython's names on POSIX, one place for each source on Windows."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycachehook.paths import Layout, absolute, default_cache_dir

if TYPE_CHECKING:
    from conftest import Python

TAG = sys.implementation.cache_tag
ROOT = "C:\\cache"


@pytest.mark.parametrize("name", ["m.py", "m.pyw", "m.tar.py", "m", ".py", ".", "", "a b.py", "\udcff.py"])
@pytest.mark.parametrize("optimization", [0, 1, 2])
def test_entry_name(name: str, optimization: int) -> None:
    """An entry's name is the one that PEP 3147 and PEP 488 give it, whatever the source's is."""
    expected = importlib.util.cache_from_source(f"/folder/{name}", optimization=optimization or "")
    assert Layout(TAG, optimization).entry_name(name) == os.path.basename(expected)


@pytest.mark.parametrize("source", ["/a/m.py", "a/m.py", "m.py", "/a//b/./../m.py", "/\udcff/m.py"])
def test_in_tree(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The in-tree place is where CPython without a prefix puts its pyc."""
    monkeypatch.setattr(sys, "pycache_prefix", None)
    assert Layout(TAG, windows=False).in_tree(source) == importlib.util.cache_from_source(source, optimization="")


def test_in_tree_of_a_source_in_the_root() -> None:
    """The in-tree place of a source in the file system's root is there; CPython's is in the current directory."""
    assert Layout("cpython-311", windows=False).in_tree("/m.py") == "/__pycache__/m.cpython-311.pyc"


@pytest.mark.parametrize("source", [r"C:\a\m.py", "C:/a/m.py", r"C:\a/m.py"])
def test_in_tree_on_windows(source: str) -> None:
    """On Windows either separator leads to the in-tree place."""
    assert Layout("cpython-311", windows=True).in_tree(source) == r"C:\a\__pycache__\m.cpython-311.pyc"


@pytest.mark.parametrize(
    ("root", "source", "expected"),
    [
        ("/cache", "/a/b/m.py", "/cache/a/b/m.cpython-311.pyc"),
        ("/cache/", "//a/m.py", "/cache/a/m.cpython-311.pyc"),
        ("/", "/a/m.py", "/a/m.cpython-311.pyc"),
        ("/cache", "/m.py", "/cache/m.cpython-311.pyc"),
        ("/cache", "/a/../b/m.py", "/cache/a/../b/m.cpython-311.pyc"),
        ("/cache", "/a/../../b/m.py", "/cache/b/m.cpython-311.pyc"),
        ("/cache", "a/m.py", "/cache{cwd}/a/m.cpython-311.pyc"),
        ("/cache", "m.py", "/cache{cwd}/m.cpython-311.pyc"),
    ],
)
def test_mirrored(root: str, source: str, expected: str) -> None:
    """Below the root an entry has its source's absolute path, which cannot lead out of it again."""
    assert Layout("cpython-311", windows=False).mirrored(root, source) == expected.format(cwd=os.getcwd())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"C:\a\b\m.py", r"C:\cache\C$\a\b\m.cpython-311.pyc"),
        (r"c:\a\b\m.py", r"C:\cache\C$\a\b\m.cpython-311.pyc"),
        ("C:/a/b/m.py", r"C:\cache\C$\a\b\m.cpython-311.pyc"),
        (r"D:\m.py", r"C:\cache\D$\m.cpython-311.pyc"),
        (r"\\server\share\a\m.py", r"C:\cache\UNC\server\share\a\m.cpython-311.pyc"),
        ("//server/share/m.py", r"C:\cache\UNC\server\share\m.cpython-311.pyc"),
    ],
)
def test_mirrored_on_windows(source: str, expected: str) -> None:
    """On Windows the drive, or the server and the share, is part of the place."""
    assert Layout("cpython-311", windows=True).mirrored(ROOT, source) == expected


@pytest.mark.parametrize("flag", [(), ("-O",), ("-OO",)])
def test_current_layout(flag: tuple[str, ...], python: Python) -> None:
    """The running interpreter's layout has its cache tag and its optimization level, and so agrees with CPython."""
    program = """
import importlib.util, json, sys
from pycachehook.paths import Layout
sys.pycache_prefix = "/cache"
print(json.dumps([Layout.current().mirrored("/cache", "/a/m.py"), importlib.util.cache_from_source("/a/m.py")]))
"""
    ours, theirs = json.loads(python(*flag, "-c", program).stdout)
    assert ours == theirs


def test_no_layout_without_a_cache_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter without a cache tag caches nothing (PEP 3147), and has no layout."""
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    assert Layout.current() is None


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the XDG specification is for other systems")
@pytest.mark.parametrize(
    ("xdg", "expected"),
    [("/xdg", "/xdg/pycachehook"), ("relative", "/home/me/.cache/pycachehook"), ("", "/home/me/.cache/pycachehook")],
)
def test_default_cache_dir(xdg: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default cache directory is below an absolute XDG_CACHE_HOME, and else below ~/.cache."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert default_cache_dir() == expected


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("/a/../b//c/", None, "/b/c"),
        ("x/../y", "/base", "/base/y"),
        ("~/y", "/base", "/home/me/y"),
        ("/y", "/base", "/y"),
        ("y", None, "{cwd}/y"),
        (".", None, "{cwd}"),
    ],
)
def test_absolute(path: str, base: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path becomes absolute and normalized, from the base or else the current directory, with `~` expanded."""
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute(path, base) == expected.format(cwd=Path.cwd())
