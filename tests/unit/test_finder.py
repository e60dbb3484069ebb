"""The finder: it asks every finder behind it, and gives plain source modules pycachehook's loader."""

from __future__ import annotations

import importlib.abc
import importlib.util
import inspect
import sys
import zipfile
from importlib.machinery import BuiltinImporter, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import cache_from_source
from typing import TYPE_CHECKING

import pytest

from pycachehook.cache_dir import CacheDir
from pycachehook.events import Stats
from pycachehook.finder import CachingFinder
from pycachehook.loader import CachingLoader, Policies, Policy
from pycachehook.paths import Layout
from pycachehook.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType


class Subclass(SourceFileLoader):
    """A loader of another tool."""


class Recorder:
    """A finder that records the names that it is asked for, and finds one module."""

    def __init__(self, finds: str = "", loader: SourceFileLoader | None = None) -> None:
        self.asked: list[tuple[str, Sequence[str] | None, ModuleType | None]] = []
        self.finds = finds
        self.loader = loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for the one module."""
        self.asked.append((fullname, path, target))
        return ModuleSpec(fullname, self.loader, origin="recorder") if fullname == self.finds else None


@pytest.fixture
def policies(cache: Path) -> Policies:
    """Return policies under which every source is cached."""
    layout = Layout.current()
    assert layout is not None
    store = Store(CacheDir(str(cache)), layout, "checked-hash")
    policies = Policies()
    policies.replace(Policy((store,), store, Stats()))
    return policies


@pytest.fixture
def finder(policies: Policies, import_state: None) -> CachingFinder:
    """Return pycachehook's finder in front of a PathFinder with an empty path."""
    finder = CachingFinder(policies)
    sys.meta_path[:] = [finder, PathFinder]
    sys.path[:] = []
    sys.pycache_prefix = None
    return finder


def test_has_the_methods_of_a_finder(policies: Policies) -> None:
    """The finder accepts the arguments that `importlib.abc.MetaPathFinder` and the import system define."""
    for name in ("find_spec", "invalidate_caches"):
        assert callable(getattr(importlib.abc.MetaPathFinder, name, None) or getattr(PathFinder, name))
        expected = list(inspect.signature(getattr(PathFinder, name)).parameters)
        assert list(inspect.signature(getattr(CachingFinder(policies), name)).parameters) == expected


@pytest.mark.usefixtures("import_state")
def test_asks_those_behind_in_order(policies: Policies) -> None:
    """Finders behind this one are asked in order until one finds the module; those in front are not asked."""
    finder = CachingFinder(policies)
    front, first, second, third = Recorder("m"), Recorder(), Recorder("m"), Recorder("m")
    without_find_spec = object()
    sys.meta_path[:] = [front, finder, first, without_find_spec, second, third]  # type: ignore[list-item]
    target = type(sys)("m")
    spec = finder.find_spec("m", ["/somewhere"], target)
    assert spec is not None
    assert spec.origin == "recorder"
    question = ("m", ["/somewhere"], target)
    assert [each.asked for each in (front, first, second, third)] == [[], [question], [question], []]
    assert finder.find_spec("other") is None


@pytest.mark.usefixtures("finder")
def test_without_a_cache_tag(tree: Callable[[Mapping[str, str]], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that sets `sys.implementation.cache_tag` to None turns caching off: modules have no `cached` path."""
    sys.path[:] = [str(tree({"before.py": "", "after.py": ""}))]
    before = importlib.util.find_spec("before")
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    after = importlib.util.find_spec("after")
    assert before is not None
    assert after is not None
    assert (type(before.loader), before.cached is None) == (CachingLoader, False)
    assert (type(after.loader), after.cached) == (SourceFileLoader, None)


@pytest.mark.usefixtures("import_state")
def test_wrapped_finder_asks_the_path_finder(policies: Policies, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """A finder that a tool has wrapped, and that therefore is not in `sys.meta_path`, still finds modules."""
    finder = CachingFinder(policies)
    sys.meta_path[:] = [Recorder("m")]
    sys.path[:] = [str(tree({"m.py": ""}))]
    spec = finder.find_spec("m")
    assert spec is not None
    assert type(spec.loader) is CachingLoader


def test_plain_sources_get_the_caching_loader(
    finder: CachingFinder, tree: Callable[[Mapping[str, str]], Path], cache: Path
) -> None:
    """The specs of a module and a package equal PathFinder's except for the loader."""
    root = tree({"m.py": "", "pkg/__init__.py": "", "pkg/sub.py": ""})
    sys.path[:] = [str(root)]
    sys.pycache_prefix = str(cache)
    for name, path in (("m", None), ("pkg", None), ("pkg.sub", [str(root / "pkg")])):
        spec, stock = finder.find_spec(name, path), PathFinder.find_spec(name, path)
        assert spec is not None
        assert stock is not None
        assert type(spec.loader) is CachingLoader
        assert isinstance(stock.loader, SourceFileLoader)
        assert (spec.loader.name, spec.loader.path) == (stock.loader.name, stock.loader.path)
        assert spec.cached == cache_from_source(stock.loader.path)
        for attribute in ("name", "origin", "submodule_search_locations", "has_location", "parent"):
            assert getattr(spec, attribute) == getattr(stock, attribute), attribute


@pytest.mark.parametrize("loader", [Subclass("m", "/m.py"), None], ids=["subclass", "none"])
def test_loaders_of_others_are_left_alone(loader: SourceFileLoader | None, finder: CachingFinder) -> None:
    """Every loader that is not exactly a SourceFileLoader stays in its spec, even a subclass."""
    sys.meta_path.append(Recorder("m", loader))
    spec = finder.find_spec("m")
    assert spec is not None
    assert spec.loader is loader


def test_other_kinds_of_modules_are_left_alone(
    finder: CachingFinder, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> None:
    """Built-in modules, namespace packages, modules in zip files and sourceless pycs keep their loaders."""
    root = tree({"space/m.py": "", "bare.pyc": ""})
    with zipfile.ZipFile(tmp_path / "modules.zip", "w") as archive:
        archive.writestr("zipped.py", "")
    sys.path[:] = [str(root), str(tmp_path / "modules.zip")]
    sys.meta_path.append(BuiltinImporter)
    found = {}
    for name in ("space", "zipped", "bare", "sys"):
        spec, stock = finder.find_spec(name), PathFinder.find_spec(name) or BuiltinImporter.find_spec(name)
        assert spec is not None
        assert stock is not None
        assert type(spec.loader) is type(stock.loader)
        found[name] = getattr(spec.loader, "__name__", type(spec.loader).__name__)
    assert found["zipped"] == "zipimporter"
    assert found["bare"] == "SourcelessFileLoader"
    assert found["sys"] == "BuiltinImporter"


def test_rule_against_a_source(
    finder: CachingFinder, policies: Policies, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """A source that a rule excludes keeps the standard loader, and so does every source after uninstalling."""
    root = tree({"m.py": "", "excluded.py": ""})
    sys.path[:] = [str(root)]

    def loaders() -> list[type]:
        return [type(spec.loader) for name in ("m", "excluded") if (spec := finder.find_spec(name)) is not None]

    policies.replace(policies.default, ((lambda path: path.endswith("excluded.py"), None),))
    assert loaders() == [CachingLoader, SourceFileLoader]
    policies.replace(None)
    assert loaders() == [SourceFileLoader, SourceFileLoader]


def test_without_a_store_the_cached_path_is_in_the_tree(
    finder: CachingFinder, policies: Policies, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """Without a store a module still gets the caching loader, and its cached path is CPython's."""
    root = tree({"m.py": ""})
    sys.path[:] = [str(root)]
    policies.replace(Policy((), None, Stats()))
    spec = finder.find_spec("m")
    assert spec is not None
    assert type(spec.loader) is CachingLoader
    assert spec.cached == cache_from_source(f"{root}/m.py")


def test_nothing_found(finder: CachingFinder) -> None:
    """A module that no finder has is not found, also after the caches have been invalidated."""
    finder.invalidate_caches()
    assert finder.find_spec("no_such_module") is None
