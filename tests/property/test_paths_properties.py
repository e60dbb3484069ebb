"""Properties of the mirrored layout: the same paths as CPython's on POSIX, one-to-one on Windows."""

from __future__ import annotations

import importlib.util
import itertools
import ntpath
import os
import sys
from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pycachehook.cache_dir import CacheDir
from pycachehook.paths import Layout
from pycachehook.store import Store

TAG = sys.implementation.cache_tag

# On POSIX a name is any bytes except the separator and zero; those that are not UTF-8 become surrogates (PEP 383).
names = st.binary(min_size=1, max_size=6).map(lambda name: os.fsdecode(name.translate(None, b"/\0") or b"n"))
odd_names = names | st.sampled_from(["..", ".", "a:", "C:", " ", "\n", "ä", ".hidden", "m.py", "m.tar.py"])
separators = st.sampled_from(["/", "/", "//", "///"])
folders = st.lists(st.tuples(odd_names, separators).map("".join), max_size=5).map("".join)
file_names = st.builds(str.__add__, odd_names, st.sampled_from([".py", ".py", ".pyw", ".", ""]))
posix_sources = st.builds("{}{}{}".format, st.sampled_from(["/", "//", ""]), folders, file_names)
roots = st.builds("/{}{}".format, folders, odd_names)


def cpython_place(root: str, source: str, optimization: int) -> str:
    """Return CPython's path of the pyc under `PYTHONPYCACHEPREFIX=root`."""
    kept, sys.pycache_prefix = sys.pycache_prefix, root
    try:
        return importlib.util.cache_from_source(source, optimization=optimization or "")
    finally:
        sys.pycache_prefix = kept


@pytest.fixture(scope="session")
def store_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Store]:
    """Return the store of an optimization level in one cache directory."""
    directory = CacheDir(str(tmp_path_factory.getbasetemp() / "store"))
    stores = [Store(directory, Layout(TAG, level, windows=False), "checked-hash") for level in (0, 1, 2)]
    return stores.__getitem__


def without_dots(path: str) -> list[str]:
    """Return the components of a path without those that do not change which file it names."""
    return [part for part in path.split("/") if part not in ("", ".")]


def folder_of(source: str) -> str:
    """Return the absolute path of a source's directory, with its dots."""
    return os.path.join(os.getcwd(), source).rpartition("/")[0]


def leads_above_the_root(folder: str) -> bool:
    """Return whether some `..` of an absolute path is applied to the root, where the kernel ignores it."""
    depths = itertools.accumulate({"..": -1, ".": 0, "": 0}.get(part, 1) for part in folder.split("/"))
    return min(depths) < 0


@given(root=roots, source=posix_sources, optimization=st.sampled_from([0, 1, 2]))
def test_mirrored_is_cpythons_place(root: str, source: str, optimization: int) -> None:
    """On POSIX an entry has CPython's path with that prefix, for any absolute or relative source.

    There are two exceptions: for a source directly in the file system's root CPython uses the current directory, or
    fails; and `..` above the root leads CPython out of the cache. From 3.12 on CPython drops one leading `./` of a
    relative source's path, so that the spelling of a path may differ.
    """
    folder = folder_of(source)
    assume(folder.strip("/") and not leads_above_the_root(folder))
    place = Layout(TAG, optimization, windows=False).mirrored(root, source)
    expected = cpython_place(root, source, optimization)
    assert without_dots(place) == without_dots(expected)
    assert place == expected or not source.startswith("/")


@given(source=posix_sources, optimization=st.sampled_from([0, 1, 2]))
def test_a_store_knows_the_same_place(
    source: str, optimization: int, store_of: Callable[[int], Store], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The store's faster computation for normalized paths gives the layout's result."""
    root = str(tmp_path_factory.getbasetemp() / "store")
    for _ in range(2):
        assert store_of(optimization).path(source) == Layout(TAG, optimization, windows=False).mirrored(root, source)


@given(root=roots, name=names, slashes=st.sampled_from(["/", "//"]), optimization=st.sampled_from([0, 1, 2]))
def test_source_in_the_root_does_not_depend_on_the_current_directory(
    root: str, name: str, slashes: str, optimization: int
) -> None:
    """A source in the file system's root has its entry directly in the cache's root, unlike in CPython."""
    layout = Layout(TAG, optimization, windows=False)
    place = layout.mirrored(root, f"{slashes}{name}.py")
    assert place == f"{root.rstrip('/')}/{layout.entry_name(f'{name}.py')}"


@given(folder=folders, dots=st.lists(st.sampled_from(["..", ".", "a", ""]), max_size=8), name=names)
def test_place_is_below_the_root(folder: str, dots: list[str], name: str) -> None:
    """On POSIX dots in a source's path never lead out of the cache."""
    source = "/".join([folder, *dots, f"{name}.py"])
    place = Layout(TAG, windows=False).mirrored("/some/cache", source)
    assert os.path.normpath(place).startswith("/some/cache/")


# Windows: components that look like those that the mapping inserts, and others.
WORDS = ("a", "C", "C$", "UNC", "$q", "q", "server")
PREFIXES = ("C:", "d:", r"\\{}\{}", r"\\?\C:", r"\\?\UNC\{}\{}", r"\\.\C:", r"\\?\Volume{{1-2}}")
FORBIDDEN = set('<>:"/|?*')


def spell(prefix: str, components: tuple[str, ...]) -> str | None:
    """Return the path of a module, or None if there are too few components for the prefix."""
    taken = prefix.count("{}")
    if taken > len(components):
        return None
    return "\\".join([prefix.format(*components), *components[taken:], "m.py"])


def windows_place(source: str, optimization: int = 0) -> str:
    """Return the entry's path as Windows normalizes it: without dots, and in one case."""
    place = Layout(TAG, optimization, windows=True).mirrored("R:\\cache", source)
    return ntpath.normcase(ntpath.normpath(place))


words = st.sampled_from(WORDS) | st.text("abC$%~ .-é", min_size=1, max_size=4).filter(
    lambda name: not name.endswith((".", " "))
)
windows_sources = (
    st.builds(spell, st.sampled_from(PREFIXES), st.lists(words, max_size=5).map(tuple))
    .filter(bool)
    .map(lambda source: source or "")
)


@given(source=windows_sources, dots=st.lists(st.sampled_from(["..", ".", "a"]), max_size=8))
def test_dots_do_not_lead_out_of_the_root_on_windows(source: str, dots: list[str]) -> None:
    """On Windows dots in a source's path never lead out of the cache."""
    folder, _, name = source.rpartition("\\")
    place = windows_place("\\".join([folder, *dots, name]))
    assert place.startswith("r:\\cache\\")


@given(source=windows_sources, style=st.randoms(use_true_random=False))
def test_spelling_does_not_change_the_place(source: str, style: object) -> None:
    """On Windows neither the kind of separator nor the case of a drive letter changes the entry's path."""
    choose = style.choice  # type: ignore[attr-defined]
    other = "".join(choose("\\/") if each == "\\" else each for each in source)
    if other[1] == ":":
        other = other[0].swapcase() + other[1:]
    assert Layout(TAG, windows=True).mirrored("R:\\cache", other) == Layout(TAG, windows=True).mirrored(
        "R:\\cache", source
    )


@given(source=windows_sources, optimization=st.sampled_from([0, 1, 2]))
def test_place_is_below_the_root_and_a_valid_name(source: str, optimization: int) -> None:
    """On Windows an entry's path is below the root and has no character that file names cannot have."""
    place = Layout(TAG, optimization, windows=True).mirrored("R:\\cache", source)
    assert place.startswith("R:\\cache\\")
    assert not FORBIDDEN & set(place.removeprefix("R:\\cache\\"))


@given(sources=st.lists(windows_sources, min_size=2, max_size=8, unique_by=ntpath.normcase))
def test_distinct_sources_have_distinct_places(sources: list[str]) -> None:
    """On Windows no two modules have the same entry, whatever their drive, share or device."""
    assert len({windows_place(source) for source in sources}) == len(sources)


def test_all_confusing_sources_have_distinct_places() -> None:
    """On Windows components that look like parts of the mapping do not give two modules the same entry."""
    found = defaultdict(set)
    for prefix, length in itertools.product(PREFIXES, range(5)):
        for components in itertools.product(WORDS, repeat=length):
            source = spell(prefix, components)
            if source is not None:
                found[windows_place(source)].add(ntpath.normcase(source))
    shared = {place: sorted(sources) for place, sources in found.items() if len(sources) > 1}
    assert len(found) > 1000
    assert not shared, f"{len(shared)} shared places, such as {next(iter(shared.items()))}"
