"""Test the objects that option values lead to, and their installation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pycachehook import runtime
from pycachehook.config import resolution
from pycachehook.events import Stats
from pycachehook.loader import CachingLoader
from pycachehook.store import InTree, Store

pytestmark = [pytest.mark.usefixtures("no_hook"), pytest.mark.alone]


def values(cache: Path, **options: object) -> dict[str, Any]:
    """Return option values."""
    return resolution.resolve({"cache_dir": str(cache), **options}).values()


def state() -> list[object]:
    """Return the attributes of the interpreter that an installation changes."""
    return [*sys.meta_path, sys.pycache_prefix, sys.dont_write_bytecode, runtime.current, runtime.installed()]


def test_compose_installs_nothing(cache: Path) -> None:
    """`compose` returns the objects and leaves the interpreter unchanged."""
    before = state()
    given = values(cache)
    kept = dict(given)
    composition = runtime.compose(given, Stats())
    assert composition.values == kept
    assert [type(place) for place in composition.default.places] == [Store, InTree]  # type: ignore[union-attr]
    assert composition.directory is composition.cache_dirs[str(cache)]
    assert state() == before


def test_compose_for_a_look(cache: Path) -> None:
    """With `look_only` a missing directory is not created."""
    composition = runtime.compose(values(cache), Stats(), look_only=True)
    assert composition.directory is not None
    assert composition.directory.status == "disabled"
    assert not cache.exists()


def test_one_directory_for_many_rules(cache: Path) -> None:
    """Rules with the same directory share one object; a rule that excludes sources has no policy."""
    rules = [{"match": "*/a/*", "read_only": True}, {"match": "*/b/*", "enabled": False}]
    composition = runtime.compose(values(cache, rules=rules), Stats())
    assert list(composition.cache_dirs) == [str(cache)]
    (first, policy), (second, none) = composition.rules
    assert (first("/a/m.py"), first("/b/m.py"), second("/b/m.py"), none) == (True, False, True, None)
    assert policy is not None
    assert policy.store is not None
    assert policy.store.directory is composition.directory


def test_install_and_uninstall(cache: Path) -> None:
    """The finder precedes `PathFinder` once, and `uninstall` restores everything."""
    before = state()
    installed = runtime.Runtime()
    for _ in range(2):
        installed.install(runtime.compose(values(cache), installed.stats))
        assert runtime.installed() is installed
        finders = [finder for finder in sys.meta_path if type(finder).__name__ == "CachingFinder"]
        assert len(finders) == 1
        assert sys.pycache_prefix == str(cache)
    installed.uninstall()
    assert state() == before


def test_what_the_program_has_set_since_stays(cache: Path) -> None:
    """A `sys.pycache_prefix` that the program has set is not reset."""
    installed = runtime.Runtime()
    installed.install(runtime.compose(values(cache), installed.stats))
    sys.pycache_prefix = "/elsewhere"
    installed.uninstall()
    assert sys.pycache_prefix == "/elsewhere"


@pytest.mark.parametrize(
    ("wish", "loader"), [("default", None), ("pause", "PausingLoader"), ("freeze", "FreezingLoader")]
)
def test_loaders(wish: str, loader: str | None, cache: Path) -> None:
    """The option `gc` determines the class of loaders."""
    installed = runtime.Runtime()
    installed.install(runtime.compose(values(cache, gc=wish), installed.stats))
    kind = installed.policies.loader
    assert (None if kind is None else kind.__name__) == loader
    assert kind is None or issubclass(kind, CachingLoader)
    installed.uninstall()


@pytest.mark.parametrize(("wish", "hooked"), [("always", True), ("never", False), ("auto", False)])
def test_open_code(wish: str, hooked: bool) -> None:
    """`auto` uses the value recorded by `enable`, and means no hook without one."""
    assert runtime.reads_by_open_code(wish) is hooked


def test_start_up_of_another_version(cache: Path) -> None:
    """Options that another version recorded are resolved again, and a second call does nothing."""
    recorded = {"cache_dir": str(cache)}
    assert runtime.start_up(recorded, "0.0.0", "/file.py")
    first = runtime.installed()
    assert first is not None
    assert runtime.start_up({"cache_dir": "/other"}, "0.0.0", "/file.py")
    assert runtime.installed() is first
    assert first.composition is not None
    assert first.composition.options is not None
    assert first.composition.options.origin("cache_dir") == "/file.py"
