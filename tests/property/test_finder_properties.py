"""The finder's search and CPython's `PathFinder` give the same results for any directory contents."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from pycachehook.cache_dir import CacheDir
from pycachehook.events import Stats
from pycachehook.finder import CachingFinder
from pycachehook.loader import CachingLoader, Policies, Policy
from pycachehook.paths import Layout
from pycachehook.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec

NAMES = ("m", "n", "M", "mm", "")
SUFFIXES = ("", ".py", ".pyc", *EXTENSION_SUFFIXES, ".PY", ".txt")
PLACES = ("a", "b", "a/", "./a", "", ".", "missing", "file", "zip.zip", "link")

files = st.builds(lambda name, suffix: name + suffix, st.sampled_from(NAMES), st.sampled_from(SUFFIXES))
kinds = st.sampled_from(["file", "directory", "package", "bare package", "fifo", "dangling", "link", "unreadable"])
contents = st.dictionaries(files.filter(bool), kinds, max_size=6)
odd_places = st.sampled_from([None, 0, b"a", Path("a"), b"", Path()])  # which the path finder ignores
paths = st.lists(st.sampled_from(PLACES) | odd_places, min_size=1, max_size=4)


def make(place: Path, kind: str) -> None:
    """Make one file or directory of this kind."""
    if kind in ("directory", "package", "bare package"):
        place.mkdir()
        if kind != "directory":
            (place / ("__init__.py" if kind == "package" else "__init__.pyc")).touch()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "dangling":
        place.symlink_to("nowhere")
    elif kind == "link":
        (place.parent / "target").touch()
        place.symlink_to("target")
    else:
        place.touch(0o000 if kind == "unreadable" else 0o644)


def fill(root: Path, a: dict[str, str], b: dict[str, str]) -> None:
    """Create the tree that is searched."""
    for name, things in (("a", a), ("b", b)):
        (root / name).mkdir()
        for file, kind in things.items():
            make(root / name / file, kind)
    (root / "file").touch()
    (root / "link").symlink_to("a")


@contextmanager
def searching(root: Path, mode: str = "checked-hash") -> Iterator[tuple[CachingFinder, list[str]]]:
    """Install this package's finder before the standard one, in the directory `root`, for a `with` block."""
    layout = Layout.current()
    assert layout is not None
    saved = sys.meta_path[:], dict(sys.path_importer_cache), os.getcwd()
    (root / "cache").mkdir(0o755)
    store = Store(CacheDir(str(root / "cache")), layout, mode)
    policies = Policies()
    policies.replace(Policy((store,), store, Stats()))
    finder = CachingFinder(policies)
    asked: list[str] = []

    def count(frame: object, event: str, _: object) -> None:
        if event == "call" and getattr(frame, "f_code", None) is PathFinder.find_spec.__func__.__code__:  # type: ignore[attr-defined]
            asked.append("path finder")

    package = ModuleType("package")  # from which the path of a nested namespace package gets its own
    package.__path__ = [str(root)]
    sys.modules["package"] = package
    os.chdir(root)
    sys.meta_path[:] = [finder, PathFinder]
    sys.setprofile(count)
    try:
        yield finder, asked
    finally:
        sys.setprofile(None)
        del sys.modules["package"]
        os.chdir(saved[2])
        sys.meta_path[:] = saved[0]
        sys.path_importer_cache.clear()
        sys.path_importer_cache.update(saved[1])


def fill_cache(root: Path) -> None:
    """Create entries for all possible sources, existing or not, because a source may be removed after it was cached."""
    layout = Layout.current()
    assert layout is not None
    for folder in ("a", "b"):
        for name in filter(None, NAMES):
            for source in (root / folder / f"{name}.py", root / folder / name / "__init__.py"):
                entry = Path(layout.mirrored(str(root / "cache"), str(source)))
                if source.is_file() or not os.path.lexists(source):
                    entry.parent.mkdir(0o755, parents=True, exist_ok=True)
                    entry.touch()
                else:
                    entry.unlink(missing_ok=True)


def absolute(root: Path, place: Any) -> Any:
    """Return an absolute path below `root`, of the same type; intentionally relative paths stay relative."""
    if isinstance(place, Path):
        return root / place
    if isinstance(place, bytes):
        return os.fsencode(root / os.fsdecode(place))
    return f"{root}/{place}" if isinstance(place, str) and place[:1].isalpha() else place


def described(spec: ModuleSpec | None) -> object:
    """Return all attributes of a spec, with this package's loader named like the standard one."""
    if spec is None:
        return None
    loader = SourceFileLoader if type(spec.loader) is CachingLoader else type(spec.loader)
    return {
        "loader": (loader, getattr(spec.loader, "name", None), getattr(spec.loader, "path", None)),
        "search": None if spec.submodule_search_locations is None else list(spec.submodule_search_locations),
        **{each: getattr(spec, each) for each in ("name", "origin", "has_location", "parent", "loader_state")},
    }


@examples(300)
@given(contents, contents, paths, st.tuples(files, kinds), st.sampled_from(["checked-hash", "unchecked-hash"]))
def test_finds_what_the_path_finder_finds(
    a: dict[str, str], b: dict[str, str], path: list[Any], addition: tuple[str, str], mode: str
) -> None:
    """Every name has the same result: with unknown directories, known ones, and changed ones.

    The mode unchecked-hash, in which a source with an entry is not read, is included.
    """
    later, kind = addition
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        fill(root, a, b)
        places = [absolute(root, place) for place in path]
        with searching(root, mode) as (finder, _):
            fill_cache(root)
            for turn in range(3):
                for fullname in (*NAMES, *(f"package.{name}" for name in NAMES)):
                    found, known = [], []
                    for find_spec in (finder.find_spec, PathFinder.find_spec):
                        if turn == 0:  # each with directories that have not been listed yet
                            sys.path_importer_cache.clear()
                        found.append(described(find_spec(fullname, places)))
                        known.append({place: type(each) for place, each in sys.path_importer_cache.items()})
                    assert found[0] == found[1], (fullname, turn)
                    assert known[0].items() <= known[1].items()
                if turn == 1 and later and not os.path.lexists(root / "a" / later):
                    make(root / "a" / later, kind)
                    fill_cache(root)


def test_the_path_finder_is_asked_only_where_it_has_to_be() -> None:
    """Modules in directories are found, or not, without `PathFinder`, in new, known and changed directories."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        fill(root, {"m.py": "file", "n": "package"}, {})
        places = [str(root / "b"), str(root / "a")]
        with searching(root) as (finder, asked):
            for name in ("m", "n", "m"):
                assert finder.find_spec(name, places) is not None
                os.utime(root / "a", ns=(1, 1))
            assert asked == []
            (root / "a" / "mm.py").touch()
            assert finder.find_spec("mm", places) is not None
            assert asked == []
            assert finder.find_spec("nowhere", places) is None
            assert asked == []
            (root / "a" / "namespace").mkdir()
            assert finder.find_spec("namespace", places) is not None
            assert len(asked) == 1


def test_a_patched_search_is_asked() -> None:
    """If a tool has replaced or observes CPython's search, that search is used."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        fill(root, {"m.py": "file"}, {})
        stock = PathFinder.__dict__["find_spec"]
        with searching(root) as (finder, _):
            for _ in range(2):
                assert finder.find_spec("m", [str(root / "a")]) is not None
            try:
                PathFinder.find_spec = classmethod(lambda *_: None)  # type: ignore[assignment,method-assign]
                assert finder.find_spec("m", [str(root / "a")]) is None
            finally:
                PathFinder.find_spec = stock  # type: ignore[method-assign]
