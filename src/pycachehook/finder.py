"""The finder: asks all finders behind it, and gives plain source modules our loader.

Duck-typed: that it conforms to `importlib.abc.MetaPathFinder` is a test, not a 13 ms import.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os
import stat
import sys

from ._compat import (
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    current_listing,
    hidden_from_tracebacks,
    is_stock_path_search,
)
from .loader import CachingLoader, Policies, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any


# Packages that look their own loader up by its exact type. pip has a copy of distlib, and some pips do so at every use:
# an environment in which pip no longer installs is worse than one `__init__` that is not cached.
_ASKED_FOR_THEIR_TYPE = ("distlib",)

_UNKNOWN = object()  # no finder at all


class CachingFinder:
    """A meta-path finder that finds nothing by itself.

    Ours is a module whose loader is exactly `SourceFileLoader`. A subclass is somebody else's, who has reasons for it.
    """

    __slots__ = ("_policies",)

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    @hidden_from_tracebacks
    def find_spec(
        self, fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Return the spec of the first finder behind this one that has any, with our loader where it should be."""
        for finder in self._behind():
            if is_stock_path_search(finder) and (found := self._shortcut(fullname, path)) is not None:
                return found
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find_spec is None else find_spec(fullname, path, target)
            if spec is not None:
                loader: Any = spec.loader
                if type(loader) is SourceFileLoader and (policy := self._policy(spec.name, loader.path)) is not None:
                    self._take(spec, loader.name, loader.path, policy)
                return spec
        return None

    def invalidate_caches(self) -> None:
        """Do nothing: there is nothing that the finders behind this one do not invalidate themselves."""

    def _shortcut(self, fullname: str, path: "Sequence[str] | None") -> "ModuleSpec | None":
        """Return the spec that `PathFinder` would find, with our loader where it should be; None: it has to be asked."""
        loader: Any
        location, package, loader = _search(fullname, sys.path if path is None else path)
        if loader is None:
            return None
        spec = ModuleSpec(fullname, None, origin=location)
        spec.has_location = True
        spec.submodule_search_locations = package
        if loader is SourceFileLoader and (policy := self._policy(fullname, location)) is not None:
            self._take(spec, fullname, location, policy)
        else:
            spec.loader = loader(fullname, location)
        return spec

    def _policy(self, fullname: str, location: str) -> "Policy | None":
        """Return the policy for a plain source module; None if a rule, or its own habits, make it not ours."""
        return None if fullname.rpartition(".")[2] in _ASKED_FOR_THEIR_TYPE else self._policies.of(location)

    def _take(self, spec: "ModuleSpec", name: str, location: str, policy: "Policy") -> None:
        """Put our loader into a spec, and the place of the entry."""
        spec.loader = CachingLoader(name, location, self._policies)
        if policy.store is not None and location.endswith(".py"):  # others have none, by spec_from_file_location
            # The property that would find it out takes three times as long, for every module.
            spec.cached = policy.store.path(location)

    def _behind(self) -> "list[Any]":
        """Return the finders behind this one; `PathFinder` if this one is wrapped in another, and not found."""
        finders: list[Any] = sys.meta_path
        try:
            return finders[finders.index(self) + 1 :]
        except ValueError:
            return [PathFinder]


def _search(fullname: str, path: "Sequence[str]") -> "tuple[str, list[str] | None, Any]":
    """Return `(file, None or [directory] of a package, loader class)` as `PathFinder` and `FileFinder` would find them.

    The same steps in the same order, for the cases that nearly every import is, in two thirds of the time. In all
    others (a finder that is not CPython's, a directory not yet listed or changed since, a namespace package, nothing
    found) the loader class is None, and they have to be asked.
    """
    name = fullname.rpartition(".")[2]
    finders = sys.path_importer_cache
    for entry in path:
        finder = finders.get(entry or _current_directory(), _UNKNOWN) if type(entry) is str else _UNKNOWN
        if finder is None:  # nothing can be found there, as the path finder remembers
            continue
        listing = current_listing(finder)
        if listing is None:
            break
        directory, names, loaders = listing
        base = f"{directory}/{name}"
        if name in names:
            for suffix, loader in loaders:
                if _is_file(file := f"{base}/__init__{suffix}"):
                    return file, [base], loader
            break  # a portion of a namespace package, or a file without a suffix
        for suffix, loader in loaders:
            if name + suffix in names and _is_file(base + suffix):
                return base + suffix, None, loader
    return "", None, None


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
