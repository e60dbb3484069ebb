"""Functions for the programs of batteries, which start with `from prelude import *`."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec

__all__ = [
    "TREE", "case", "facts", "forget", "importlib", "kind", "main", "module_from", "os", "raised", "sys", "trace",
    "without_importlib", "write",
]  # fmt: skip

TREE = os.path.dirname(os.path.abspath(sys.argv[0]))
ANSWERS: dict[str, object] = {}


def case(function: Callable[[], object]) -> None:
    """Record what the function returns or raises, and undo its changes to the import system."""
    lists: tuple[list[object], ...] = (sys.path, sys.path_hooks, sys.meta_path)  # type: ignore[assignment]
    kept = [list(each) for each in lists]
    try:
        ANSWERS[function.__name__] = function()
    except Exception as error:  # noqa: BLE001 -- the exception is the result of the case
        ANSWERS[function.__name__] = raised(error)
    for each, content in zip(lists, kept, strict=True):
        each[:] = content
    forget()


def main() -> None:
    """Print the results."""
    print(json.dumps(ANSWERS))


def forget() -> None:
    """Unload all modules of the tree."""
    names = {name.partition(".")[0] for name in os.listdir(TREE)}
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
    sys.path_importer_cache.clear()


def raised(error: BaseException) -> dict[str, object]:
    """Return the type and message of an exception as plain data."""
    found: dict[str, object] = {"raised": type(error).__name__, "text": str(error)}
    if isinstance(error, ImportError):
        found.update(name=error.name, path=error.path)
    if isinstance(error, SyntaxError):
        found.update(filename=error.filename, lineno=error.lineno, offset=error.offset, line=error.text)
    return found


def kind(thing: object) -> str:
    """Return the name of the object's type, which may be this package's loader."""
    return type(thing).__name__


def facts(spec: ModuleSpec | None) -> dict[str, object] | None:
    """Return the attributes of a spec as plain data."""
    if spec is None:
        return None
    found = {name: getattr(spec, name) for name in ("name", "origin", "cached", "has_location", "parent")}
    where = spec.submodule_search_locations
    state = repr(spec.loader_state)
    return {**found, "loader": kind(spec.loader), "state": state, "where": None if where is None else list(where)}


def module_from(name: str) -> object:
    """Create and execute a module by hand, as in the recipe of importlib's documentation."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trace(action: Callable[[], object]) -> str:
    """Return the traceback of the exception that `action()` raises, as it would be printed."""
    try:
        action()
    except BaseException:  # noqa: BLE001 -- as above
        return traceback.format_exc()
    raise AssertionError("nothing was raised")


def without_importlib(text: str) -> str:
    """Return a traceback without importlib's frames, for cases in which CPython does not remove them itself.

    The functions and line numbers in these frames also change between releases of CPython.
    """
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith('  File "<frozen importlib'))


def write(name: str, text: str) -> str:
    """Write a source into the tree, and return its path."""
    path = os.path.join(TREE, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path
