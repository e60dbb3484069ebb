"""The finder for the libraries that read a configuration."""

from __future__ import annotations

import importlib.machinery
from typing import TYPE_CHECKING

from pycachehook.config import libraries

if TYPE_CHECKING:
    import types
    from collections.abc import Sequence

    import pytest


class EarlyBuiltinImporter(importlib.machinery.BuiltinImporter):
    """`BuiltinImporter` of Python 3.11.2, which finds nothing if it is given a path."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a built-in module, only for a module outside a package."""
        return None if path is not None else super().find_spec(fullname, path, target)


def test_built_in_modules_are_found_in_every_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tomllib` imports `string`, which imports the built-in module `_string`."""
    monkeypatch.setattr(libraries, "BuiltinImporter", EarlyBuiltinImporter)
    spec = libraries.InstalledOnly().find_spec("_string")
    assert spec is not None
    assert spec.origin == "built-in"
