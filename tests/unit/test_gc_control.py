"""The option `gc`: no collection while a module's body runs, and the previous state afterwards."""

from __future__ import annotations

import gc
import importlib
from typing import TYPE_CHECKING

import pytest

import pycachehook
from pycachehook.gc_control import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

    Import = Callable[[str], ModuleType]

ALLOCATE = """
import gc
count = lambda: sum(each["collections"] for each in gc.get_stats())
before = count()
kept = [[] for _ in range(100_000)]
collections = count() - before
"""


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Start with the collector enabled, and restore its state."""
    enabled, threshold = gc.isenabled(), gc.get_threshold()
    gc.enable()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*threshold)
    (gc.enable if enabled else gc.disable)()


@pytest.fixture(params=["pause", "freeze"])
def run(
    request: pytest.FixtureRequest,
    tree: Callable[[Mapping[str, str]], Path],
    cache: Path,
    no_hook: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Import:
    """Return a function that runs a text as a module's body under the hook, with a value of the option."""

    def run(text: str) -> ModuleType:
        root = tree({"paused_module.py": text, "paused_inner.py": "import gc\nthreshold = gc.get_threshold()\n"})
        monkeypatch.syspath_prepend(root)
        pycachehook.install(cache, gc=request.param)
        return importlib.import_module("paused_module")

    return run


def test_nothing_is_collected_in_a_body(run: Import, cache: Path) -> None:
    """A body during which collections happen without the option has none with it."""
    module = run(ALLOCATE)
    assert module.collections == 0
    assert gc.get_threshold()[:2] == (700, 10)
    pycachehook.install(cache)
    assert importlib.reload(module).collections > 0


def test_the_importer_of_another_module_stays_paused(run: Import) -> None:
    """A nested import does not resume the collector for the rest of the outer body."""
    module = run("import gc, paused_inner\nthreshold = gc.get_threshold()\n")
    assert module.threshold[0] == module.paused_inner.threshold[0] == NEVER
    assert gc.get_threshold()[0] == 700


def test_a_body_that_raises(run: Import) -> None:
    """The collector resumes after a body that raises."""
    with pytest.raises(ZeroDivisionError):
        run("1 / 0\n")
    assert gc.get_threshold()[0] == 700


@pytest.mark.parametrize(
    ("text", "enabled", "threshold"),
    [
        ("gc.disable()", False, 700),
        ("gc.disable()\ngc.enable()", True, 700),
        ("gc.set_threshold(5000)", True, 5000),
        ("gc.set_threshold(0)", True, 0),
        ("gc.set_threshold(gc.get_threshold()[0] * 5)", True, 3500),
    ],
)
def test_what_a_body_sets_stays(run: Import, text: str, *, enabled: bool, threshold: int) -> None:
    """A program's own settings of the collector stay in effect."""
    run(f"import gc\n{text}\n")
    assert gc.isenabled() is enabled
    assert gc.get_threshold()[0] == threshold


def test_a_collector_that_is_off_stays_off(run: Import) -> None:
    """A threshold of 0, with which a program turns the collector off, is preserved."""
    gc.set_threshold(0)
    assert run("import gc\nthreshold = gc.get_threshold()\n").threshold[0] == 0
    assert gc.get_threshold()[0] == 0
