"""Paths of entries: CPython's on POSIX, different ones for different sources on Windows."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycachehook.paths import Layout, absolute, default_cache_dir, installed_predicate, why_no_default_cache_dir

if TYPE_CHECKING:
    from conftest import Python

TAG = sys.implementation.cache_tag
ROOT = "C:\\cache"


@pytest.mark.parametrize("name", ["m.py", "m.pyw", "m.tar.py", "m", ".py", ".", "", "a b.py", "\udcff.py"])
@pytest.mark.parametrize("optimization", [0, 1, 2])
def test_entry_name(name: str, optimization: int) -> None:
    """The name of an entry is the one that PEP 3147 and PEP 488 define, for any source name."""
    expected = importlib.util.cache_from_source(f"/folder/{name}", optimization=optimization or "")
    assert Layout(TAG, optimization).entry_name(name) == os.path.basename(expected)


@pytest.mark.parametrize("source", ["/a/m.py", "a/m.py", "m.py", "/a//b/./../m.py", "/\udcff/m.py"])
def test_in_tree(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The in-tree path is CPython's without a prefix."""
    monkeypatch.setattr(sys, "pycache_prefix", None)
    assert Layout(TAG, windows=False).in_tree(source) == importlib.util.cache_from_source(source, optimization="")


def test_in_tree_of_a_source_in_the_root() -> None:
    """The in-tree path of a source in the root directory is in the root; CPython's is in the current directory."""
    assert Layout("cpython-311", windows=False).in_tree("/m.py") == "/__pycache__/m.cpython-311.pyc"


@pytest.mark.parametrize("source", [r"C:\a\m.py", "C:/a/m.py", r"C:\a/m.py"])
def test_in_tree_on_windows(source: str) -> None:
    """On Windows both separators give the in-tree path."""
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
    """Below the root an entry has the absolute path of its source, and cannot be outside of it."""
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
    """On Windows the drive, or server and share, is part of the path."""
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
    """An interpreter without a cache tag caches nothing (PEP 3147) and has no layout."""
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    assert Layout.current() is None


xdg_only = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the XDG specification is for other systems")


@xdg_only
@pytest.mark.parametrize(
    ("xdg", "expected"),
    [
        ("/xdg", "/xdg/pycachehook"),
        ("/xdg/", "/xdg/pycachehook"),
        ("relative", "{home}/.cache/pycachehook"),
        ("", "{home}/.cache/pycachehook"),
    ],
)
def test_default_cache_dir(xdg: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default cache directory is below an absolute XDG_CACHE_HOME, otherwise below ~/.cache."""
    monkeypatch.setenv("HOME", f"{tmp_path}/")
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert default_cache_dir() == expected.format(home=tmp_path)
    assert why_no_default_cache_dir() is None


@xdg_only
@pytest.mark.parametrize(
    ("home", "xdg", "reason"),
    [
        ("{tmp}/missing", "", "the home directory {tmp}/missing does not exist"),
        ("{tmp}/file", "", "the home directory {tmp}/file does not exist"),
        ("", "", "which is no absolute path"),
        ("relative", "", "which is no absolute path"),
        ("~", "", "which is no absolute path"),
        ("{tmp}", "{tmp}/missing/.cache", "{tmp}/missing does not exist"),
    ],
)
def test_no_default_cache_dir(
    home: str, xdg: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an existing home directory there is no default cache directory, with a reason."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", home.format(tmp=tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", xdg.format(tmp=tmp_path))
    assert default_cache_dir() is None
    why = why_no_default_cache_dir()
    assert why is not None
    assert reason.format(tmp=tmp_path) in why
    assert why.endswith("; set cache_dir.")


@xdg_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("has_cache", "expected"), [(False, None), (True, "{home}/.cache/pycachehook")])
def test_home_of_somebody_else(has_cache: bool, expected: str | None, python: Python, public: Path) -> None:
    """Another user's home directory is not used, unless its cache directory belongs to this user."""
    home = public / "home"
    home.mkdir(mode=0o755)
    if has_cache:
        (home / ".cache").mkdir()
        os.chown(home / ".cache", 4242, 4242)
    program = """
import os, sys
from pycachehook.paths import default_cache_dir, why_no_default_cache_dir
import pycachehook.system
os.environ["HOME"] = sys.argv[1]
os.environ.pop("XDG_CACHE_HOME", None)
os.chdir(sys.argv[1])
os.seteuid(4242)
print(default_cache_dir(), why_no_default_cache_dir())
"""
    path, _, reason = python("-c", program, home).stdout.rstrip().partition(" ")
    assert path == str(expected and expected.format(home=home))
    assert (reason == "None") == has_cache
    assert has_cache or "belongs to uid 0, and this process runs as uid 4242" in reason


@xdg_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_user_whom_nobody_knows(python: Python) -> None:
    """Without HOME and an entry in the user database there is no home directory, and `~` cannot be expanded."""
    program = """
import os
from pycachehook.paths import absolute, default_cache_dir, why_no_default_cache_dir
os.environ.pop("HOME", None)
os.environ.pop("XDG_CACHE_HOME", None)
os.setresuid(31337, 31337, 31337)
print(default_cache_dir(), absolute("~/cache"), absolute("~"), absolute("~no-such-user/x"), absolute("./~/x", "/b"))
print(why_no_default_cache_dir())
"""
    values, reason = python("-c", program).stdout.splitlines()
    assert values == "None None None None /b/~/x"
    assert "the user database has no home directory of this user" in reason


def test_home_of_another_user_that_does_not_exist() -> None:
    """System users often have a home directory that does not exist, and none may be created for a cache."""
    pwd = pytest.importorskip("pwd")
    names = [user.pw_name for user in pwd.getpwall() if not os.path.exists(user.pw_dir)]
    if not names:
        pytest.skip("every user has a home directory here")
    assert [absolute(f"~{name}/x") for name in names] == [None] * len(names)


def test_home_from_the_user_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without HOME the user database is read, and `pwd` is not left in `sys.modules`."""
    pwd = pytest.importorskip("pwd")
    home = pwd.getpwuid(os.getuid()).pw_dir
    name = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.delenv("HOME")
    monkeypatch.delitem(sys.modules, "pwd")
    assert absolute("~/x") == absolute(f"~{name}/x") == f"{home}/x"
    assert "pwd" not in sys.modules


def test_current_directory_that_has_been_removed(python: Python, tmp_path: Path) -> None:
    """An absolute path needs no current directory; a relative one cannot be made absolute without it."""
    program = """
import os
from pycachehook.paths import absolute
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
print(absolute("/a/../b"), absolute("~/x"), absolute("x", "/base"), absolute("x"), absolute("."))
"""
    process = python("-c", program, cwd=tmp_path, HOME="/home/me")
    assert process.stdout == "/b /home/me/x /base/x None None\n"


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
    """A path becomes absolute and normalized, relative to the base or the current directory, with `~` expanded."""
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute(path, base) == expected.format(cwd=Path.cwd())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("{stdlib}/os.py", True),
        ("{stdlib}/json/decoder.py", True),
        ("{stdlib}/../../home/app.py", False),
        ("{stdlib}x/os.py", False),
        ("{purelib}/package/module.py", True),
        ("{purelib}/../../../app/module.py", False),
        ("/app/module.py", False),
        ("/app/site-packages/module.py", False),
        ("/listed/site-packages/module.py", True),
        ("/listed/site-packages/package/site-packages/module.py", True),
        ("/listed/site-packages/../module.py", False),
        ("/slash/dist-packages/module.py", True),
        ("/listed/app/module.py", False),
        ("module.py", False),
        ("", False),
    ],
)
def test_installed_sources(path: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The predicate separates the standard library and package directories from others, by `sys.path`."""
    purelib = f"{sys.prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    is_installed = installed_predicate(windows=False)
    entries: list[Any] = ["/listed/site-packages", "/slash/dist-packages/", "/listed/app", b"/bytes", None]
    monkeypatch.setattr(sys, "path", entries)
    assert is_installed(path.format(stdlib=os.path.dirname(os.__file__), purelib=purelib)) is expected


def test_installed_sources_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows case and kind of separator make no difference."""
    monkeypatch.setattr(sys, "prefix", "C:\\Venv")
    monkeypatch.setattr(sys, "path", ["D:\\Other\\site-packages"])
    is_installed = installed_predicate(windows=True)
    assert is_installed("c:\\venv\\lib\\Site-Packages\\module.py")
    assert is_installed("C:/Venv/Lib/site-packages/module.py")
    assert is_installed("d:\\other\\site-packages\\module.py")
    assert not is_installed("C:\\Venv\\app\\module.py")
