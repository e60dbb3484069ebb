"""The finder: asks all finders behind it, and gives plain source modules our loader.

Duck-typed: that it conforms to `importlib.abc.MetaPathFinder` is a test, not a 13 ms import.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from ._compat import ModuleSpec, PathFinder, SourceFileLoader, hidden_from_tracebacks
from .loader import ASKED_FOR_THEIR_TYPE, CachingLoader, Policies
from .path_search import NOWHERE, find_in_listings, look_again_here
from .system import BUILTINS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

__builtins__ = BUILTINS  # what programs patch in `builtins` later does not reach this module

# Imported by programs that write pycs into trees: pip, installer, uv's compiler. From then on `sys.pycache_prefix` is
# what it would be without the hook, so that they write, record and remove the pycs that they would without it.
WRITES_BYTECODE = "compileall"


class CachingFinder:
    """A meta-path finder that finds nothing by itself.

    Ours is a module whose loader is exactly `SourceFileLoader`. A subclass is somebody else's, who has reasons for it.
    `pycachehook_runtime` leads from `sys.meta_path` to what is installed, see `runtime.installed`.
    """

    __slots__ = ("_policies", "pycachehook_runtime")

    def __init__(self, policies: Policies, runtime: object = None) -> None:
        self._policies = policies
        self.pycachehook_runtime = runtime

    @hidden_from_tracebacks
    def find_spec(  # noqa: C901 -- a chain of conditions
        self, fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Return the spec of the first finder behind this one that has any, with our loader where it should be."""
        finders: list[Any] = sys.meta_path
        try:
            behind = finders[finders.index(self) + 1 :]
        except ValueError:  # some tool has wrapped this one
            behind = [PathFinder]
        policies = self._policies
        for finder in behind:
            spec: ModuleSpec | None = None
            if finder is PathFinder:
                spec = find_in_listings(fullname, sys.path if path is None else path, policies.known, policies.archived)
                if spec is NOWHERE:  # it is asked after this one in any case, and once is enough
                    continue
            if spec is None:
                find_spec = getattr(finder, "find_spec", None)
                spec = None if find_spec is None else find_spec(fullname, path, target)
            if spec is None:
                continue
            if fullname == WRITES_BYTECODE:
                policies.leave_prefix()
            loader: Any = spec.loader
            if type(loader) is SourceFileLoader:
                origin = loader.path
                policy = policies.of(origin) if policies.rules else policies.default
                if policy is not None and fullname.rpartition(".")[2] not in ASKED_FOR_THEIR_TYPE:
                    caching = spec.loader = (policies.loader or CachingLoader)(loader.name, origin, policies)
                    # Others have none, by `spec_from_file_location`.
                    if policy.store is not None and origin[-3:] == ".py":
                        # The property that would find it out takes three times as long, for every module.
                        spec.cached = location = policy.store.path(origin)
                        caching._location = policy.store, location  # noqa: SLF001 -- this package's own
            return spec
        return None

    def invalidate_caches(self) -> None:
        """Look again whether archives still answer for their directories; the finders behind this one do the rest."""
        if self._policies.archived is not None:
            self._policies.archived.check()
            look_again_here()


def asks_for_its_type(fullname: str) -> bool:
    """Say whether a package looks its own loader up by its exact type, and is left to the stock one therefore."""
    return fullname.rpartition(".")[2] in ASKED_FOR_THEIR_TYPE
