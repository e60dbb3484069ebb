"""Test the copy of CPython's path search: it gives `PathFinder`'s spec, or None if that must be called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

import pytest

from pycachehook.path_search import NOT_FOUND, find_in_listings

SOURCES = {
    "one.py": "",
    "package/__init__.py": "",
    "package/inner.py": "",
    "both/__init__.py": "",
    "both.py": "",
    "portion/part.py": "",
    "legacy.pyc": "",
    "folder.py/inside.py": "",
}

pytestmark = pytest.mark.usefixtures("import_state")


@pytest.fixture
def root(tree: Callable[[Mapping[str, str]], Path]) -> Path:
    """Return a directory of modules of several kinds."""
    return tree(SOURCES)


@pytest.mark.parametrize("name", ["one", "package", "package.inner", "both", "legacy"])
def test_finds_what_the_path_finder_finds(name: str, root: Path) -> None:
    """The spec has the same origin, loader, locations and attributes."""
    path = [str(root / "package" if "." in name else root)]
    expected, found = PathFinder.find_spec(name, path), find_in_listings(name, path)
    assert expected is not None
    assert found == expected
    assert (found.origin, type(found.loader), found.has_location) == (expected.origin, type(expected.loader), True)
    assert (found.loader.name, found.loader.path) == (name, expected.origin)


def test_kinds_of_loaders(root: Path) -> None:
    """Sources and bytecode without a source are found; an extension module precedes them."""
    (root / f"one{EXTENSION_SUFFIXES[0]}").touch()
    kinds = {name: type(find_in_listings(name, [str(root)]).loader) for name in ("one", "package", "legacy")}
    assert kinds == {"one": ExtensionFileLoader, "package": SourceFileLoader, "legacy": SourcelessFileLoader}


@pytest.mark.parametrize("name", ["missing", "package.missing", "folder"])
def test_not_found(name: str, root: Path) -> None:
    """A name that no directory lists, and a directory named like a source, are not found."""
    assert find_in_listings(name, [str(root / "package" if "." in name else root), str(root / "no directory")]) in (
        NOT_FOUND,
        None,
    )
    assert PathFinder.find_spec(name, [str(root)]) is None


def test_namespace_packages_are_the_path_finders(root: Path) -> None:
    """Namespace packages are left to `PathFinder`, which collects all portions."""
    assert find_in_listings("portion", [str(root)]) is None


def test_the_first_directory_wins(root: Path, tmp_path: Path) -> None:
    """The first directory on the path with the module is used."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first/one.py").touch()
    for path in ([str(tmp_path / "first"), str(root)], [str(root), str(tmp_path / "first")]):
        assert find_in_listings("one", path).origin == f"{path[0]}/one.py"


def test_a_file_that_is_added(root: Path) -> None:
    """A directory is listed again when its mtime has changed."""
    assert find_in_listings("late", [str(root)]) is NOT_FOUND
    (root / "late.py").touch()
    before = root.stat().st_mtime_ns
    sys.path_importer_cache.pop(str(root), None)
    assert root.stat().st_mtime_ns == before
    assert find_in_listings("late", [str(root)]).origin == str(root / "late.py")


def test_sources_that_are_known_to_be_there(root: Path) -> None:
    """`is_file` saves the `stat` of a known source; an unknown one is examined."""
    asked: list[str] = []

    def is_file(path: str) -> bool:
        asked.append(path)
        return path.endswith("one.py")

    (root / "one.py").unlink()
    (root / "one.py").mkdir()  # which a `stat` call would have noticed
    assert find_in_listings("one", [str(root)], is_file).origin == str(root / "one.py")
    assert find_in_listings("both", [str(root)], is_file).origin == str(root / "both/__init__.py")
    assert asked == [str(root / "one.py")]


@pytest.fixture
def other_hook(root: Path) -> Iterator[str]:
    """Install a path hook with its own finder before all others."""
    place = str(root / "package")

    class Finder:
        def find_spec(self, *_: object) -> None:
            return None

    def hook(path: str) -> Finder:
        if path != place:
            raise ImportError
        return Finder()

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.pop(place, None)
    yield place
    sys.path_importer_cache.pop(place, None)


def test_finders_of_tools_are_asked_by_the_path_finder(other_hook: str) -> None:
    """For a directory with another finder, the search is left to `PathFinder`."""
    assert find_in_listings("inner", [other_hook]) is None


def test_a_path_finder_that_was_replaced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If `PathFinder` was replaced, the search is left to its replacement."""
    monkeypatch.setattr(PathFinder, "find_spec", classmethod(lambda *_: None))
    assert find_in_listings("one", [str(root)]) is None
