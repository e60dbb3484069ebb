"""The finder: asks all finders behind it, and gives plain source modules our loader.

Duck-typed: that it conforms to `importlib.abc.MetaPathFinder` is a test, not a 13 ms import.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from ._compat import PathFinder, SourceFileLoader, hidden_from_tracebacks
from .loader import CachingLoader, Policies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


# Packages that look their own loader up by its exact type. pip has a copy of distlib, and some pips do so at every use:
# an environment in which pip no longer installs is worse than one `__init__` that is not cached.
_ASKED_FOR_THEIR_TYPE = ("distlib",)


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
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find_spec is None else find_spec(fullname, path, target)
            if spec is not None:
                loader: Any = spec.loader
                if type(loader) is SourceFileLoader:
                    self._take(spec, loader)
                return spec
        return None

    def invalidate_caches(self) -> None:
        """Do nothing: there is nothing that the finders behind this one do not invalidate themselves."""

    def _take(self, spec: "ModuleSpec", loader: "Any") -> None:
        """Put our loader into the spec of a plain source module, unless a rule says that it is not ours."""
        policy = self._policies.of(loader.path)
        if policy is not None and spec.name.rpartition(".")[2] not in _ASKED_FOR_THEIR_TYPE:
            spec.loader = CachingLoader(loader.name, loader.path, self._policies)
            if policy.store is not None and loader.path.endswith(".py"):  # others have none, by spec_from_file_location
                # The property that would find it out takes three times as long, for every module.
                spec.cached = policy.store.path(loader.path)

    def _behind(self) -> "list[Any]":
        """Return the finders behind this one; `PathFinder` if this one is wrapped in another, and not found."""
        finders: list[Any] = sys.meta_path
        try:
            return finders[finders.index(self) + 1 :]
        except ValueError:
            return [PathFinder]
