"""Tools that replace a step of the standard loader keep their effect, and other processes are not affected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stress import attacks

from . import loader_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python

NAMES = ("first", "second", "third")
QUICK: dict[str, list[pytest.MarkDecorator]] = {"mirror": [], "checked archive": [], "shared": [pytest.mark.full]}
WAYS: dict[str, dict[str, Any]] = {**attacks.WAYS, "gc": {"gc": "freeze"}}


@pytest.mark.alone
@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=QUICK.get(way, [pytest.mark.full, pytest.mark.slow])) for way in WAYS],
)
def test_replaced_steps(way: str, python: Python, tree: Callable[[Mapping[str, str]], Path], cache: Path) -> None:
    """Whichever step is replaced, before or after the hook is installed, the result is the tool's."""
    sources = {f"{name}.py": "value = 'plain'\n" for name in NAMES}
    root, options = tree({**sources, "other.txt": "value = 'tool'\n"}), dict(WAYS[way])
    if "archives" in options:
        out = cache.parent / "tree.pyca"
        python("-m", "pycachehook", "archive", "build", "--invalidation-mode", options["archives"], "--path", root, out)
        options["archives"] = [str(out)]
    said = json.loads(python(loader_tools.__file__, root, cache, json.dumps(options)).stdout)
    assert set(said) == set(loader_tools.TOOLS)
    no_effect = {"path_stats", "set_data", "_cache_bytecode", "cache_from_source"}
    for tool, rows in said.items():  # on a standard interpreter
        looks_on = tool in no_effect or tool.endswith("looked on")
        assert rows[0][1] == ["plain" if looks_on else "tool"] * 2, tool
    wrong: list[Any] = []
    for tool, rows in said.items():
        for case, expected, cold, stored, plain, warm, again in rows:
            what: Any = (expected, [], ["plain"] * 2, expected, ["plain"] * 2)
            if (cold, stored, plain, warm, again) != what:
                wrong.append((tool, case, what, (cold, stored, plain, warm, again)))
    assert wrong == []
