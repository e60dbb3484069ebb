"""Imports of the libraries that read a configuration: `tomllib`, and for rules by distribution `importlib_metadata`.

A start may need them during an import of the program. The program's directories may contain files of the same names, so
these libraries and their own imports are searched for only in the standard library and in `site-packages`, unless the
program has loaded them already.
"""

import os
import sys

from pycachehook._compat import BuiltinImporter, FrozenImporter, PathFinder
from pycachehook.own_modules import FOLDER
from pycachehook.paths import installed_predicate
from pycachehook.system import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType
    from typing import Any


class InstalledOnly:
    """A context manager that limits this thread's imports to these directories."""

    def __init__(self) -> None:
        self.thread = system.get_ident()
        self.path = [*_installed_directories()]

    def __enter__(self) -> "InstalledOnly":
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.meta_path[:] = [each for each in sys.meta_path if each is not self]

    def find_spec(self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None) -> "Any":
        """Return the spec; raises ModuleNotFoundError for a missing module, so that no later finder is called."""
        if self.thread != system.get_ident():
            return None
        folders = self.path if path is None else path
        # Without a path, as in an import statement: with one, some releases of Python 3.11 find no built-in module.
        for finder, where in ((BuiltinImporter, path), (FrozenImporter, path), (PathFinder, folders)):
            spec: Any = finder.find_spec(name, where, target)
            if spec is not None:
                return spec
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _installed_directories() -> "Iterator[str]":
    folder = os.path.dirname(os.__file__)
    yield folder
    is_installed = installed_predicate()
    own = os.path.dirname(FOLDER)
    for entry in sys.path:
        if type(entry) is str and entry not in ("", folder) and (entry == own or is_installed(f"{entry}/x.py")):
            yield entry
