"""The finder: every finder behind it is asked, and plain source modules get our loader."""

from __future__ import annotations

import importlib.abc
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
    """A loader of somebody else's."""


class Recorder:
    """A finder that notes what it is asked for, and finds one module."""

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
    """Return our finder, in front of the path finder, which looks nowhere yet."""
    finder = CachingFinder(policies)
    sys.meta_path[:] = [finder, PathFinder]
    sys.path[:] = []
    sys.pycache_prefix = None
    return finder


def test_has_the_methods_of_a_finder(policies: Policies) -> None:
    """The finder takes what `importlib.abc.MetaPathFinder` and the import system say that finders are given."""
    for name in ("find_spec", "invalidate_caches"):
        assert callable(getattr(importlib.abc.MetaPathFinder, name, None) or getattr(PathFinder, name))
        expected = list(inspect.signature(getattr(PathFinder, name)).parameters)
        assert list(inspect.signature(getattr(CachingFinder(policies), name)).parameters) == expected


@pytest.mark.usefixtures("import_state")
def test_asks_those_behind_in_order(policies: Policies) -> None:
    """Finders behind ours are asked in their order until one finds the module; those in front are not asked at all."""
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


@pytest.mark.usefixtures("import_state")
def test_wrapped_finder_asks_the_path_finder(policies: Policies, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """A finder that another tool has wrapped, so that it is not itself on the meta path, still finds modules."""
    finder = CachingFinder(policies)
    sys.meta_path[:] = [Recorder("m")]
    sys.path[:] = [str(tree({"m.py": ""}))]
    spec = finder.find_spec("m")
    assert spec is not None
    assert type(spec.loader) is CachingLoader


def test_plain_sources_get_our_loader(
    finder: CachingFinder, tree: Callable[[Mapping[str, str]], Path], cache: Path
) -> None:
    """A module's and a package's spec are the path finder's own, but for the loader, which is ours."""
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
    """Any loader but exactly SourceFileLoader stays in its spec, a subclass of it too."""
    sys.meta_path.append(Recorder("m", loader))
    spec = finder.find_spec("m")
    assert spec is not None
    assert spec.loader is loader


def test_other_kinds_of_modules_are_left_alone(
    finder: CachingFinder, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> None:
    """Built-in modules, namespace packages, modules in zip files and bare pycs keep the loaders that they have."""
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
    """A source that a rule excludes keeps the stock loader, and so does every source after uninstalling."""
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
    """Where nothing is stored a module is ours all the same, and its cached path is where CPython would look."""
    root = tree({"m.py": ""})
    sys.path[:] = [str(root)]
    policies.replace(Policy((), None, Stats()))
    spec = finder.find_spec("m")
    assert spec is not None
    assert type(spec.loader) is CachingLoader
    assert spec.cached == cache_from_source(f"{root}/m.py")


def test_nothing_found(finder: CachingFinder) -> None:
    """A module that nobody has is not found, and invalidating caches changes nothing about that."""
    finder.invalidate_caches()
    assert finder.find_spec("no_such_module") is None
