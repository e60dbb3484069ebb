"""The finder: calls the finders after it in `sys.meta_path`, and gives plain source modules pycachehook's loader.

It is duck-typed; a test checks that it conforms to `importlib.abc.MetaPathFinder`, whose import would take 13 ms.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from ._compat import ModuleSpec, PathFinder, SourceFileLoader, hidden_from_tracebacks
from .loader import CachingLoader, Policies
from .path_search import LEFT_TO_STOCK_LOADER, NOT_FOUND, find_in_listings, forget_current_directory
from .system import BUILTINS, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

# Imported by programs that write pycs into source trees: pip, installer, uv's compiler. From then on
# `sys.pycache_prefix` has the value that it would have without the hook, so that they write, record and remove the same
# pycs.
WRITES_BYTECODE = "compileall"

_LEGACY_FINDERS = system.version < (3, 12)


class CachingFinder:
    """A meta-path finder that changes the loader of specs from the finders after it.

    Only a spec whose loader is exactly a `SourceFileLoader` is changed. A subclass belongs to another tool and may do
    anything. `pycachehook_runtime` is the installed `Runtime`; see `runtime.installed`.
    """

    __slots__ = ("_policies", "_position", "pycachehook_runtime")

    def __init__(self, policies: Policies, runtime: object = None) -> None:
        self._policies = policies
        self._position = 0  # in `sys.meta_path`, when it was last looked for
        self.pycachehook_runtime = runtime

    @hidden_from_tracebacks
    def find_spec(  # noqa: C901, PLR0912 -- a chain of conditions
        self, fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Return the spec of the first later finder that has one, with the caching loader if the hook applies to it."""
        if sys.implementation.cache_tag is None:  # the program has turned caching off (PEP 421)
            return None
        finders: list[Any] = sys.meta_path
        position = self._position
        if not 0 <= position < len(finders) or finders[position] is not self:
            # Not `index`, which calls `__eq__` of other finders.
            position = self._position = next((at for at, finder in enumerate(finders) if finder is self), -1)
        later = finders[position + 1 :] if position >= 0 else [PathFinder]  # a tool has wrapped this finder
        policies = self._policies
        try:
            for finder in later:
                spec: ModuleSpec | None = None
                if finder is PathFinder:
                    spec = find_in_listings(
                        fullname, sys.path if path is None else path, policies.holds, policies.archived
                    )
                    if spec is NOT_FOUND:  # the interpreter will call PathFinder itself
                        continue
                if spec is None:
                    find_spec = getattr(finder, "find_spec", None)
                    if find_spec is None:
                        if _LEGACY_FINDERS and hasattr(finder, "find_module"):  # which the interpreter calls
                            return None
                        continue
                    spec = find_spec(fullname, path, target)
                if spec is None:
                    continue
                if fullname == WRITES_BYTECODE:
                    policies.restore_prefix()
                loader: Any = spec.loader
                # A loader with more attributes than its name and path has been changed by a tool.
                if type(loader) is SourceFileLoader and len(loader.__dict__) == 2:  # noqa: PLR2004
                    origin = loader.path
                    policy = policies.of(origin) if policies.rules else policies.default
                    if policy is not None and fullname.rpartition(".")[2] not in LEFT_TO_STOCK_LOADER:
                        caching = spec.loader = (policies.loader or CachingLoader)(loader.name, origin, policies)
                        # Sources with other suffixes have no `cached` attribute from `spec_from_file_location` either.
                        if policy.store is not None and origin[-3:] == ".py":
                            # Assigned here because the property that computes it takes three times as long, for every
                            # module.
                            spec.cached = location = policy.store.path(origin)
                            caching._location = policy.store, location  # noqa: SLF001 -- a class of this package
                return spec
        except RecursionError:  # without the frame of this method, the same finders may succeed
            return None
        return None

    def invalidate_caches(self) -> None:
        """Check again whether archives are valid for their directories; other finders invalidate their own caches."""
        if self._policies.archived is not None:
            self._policies.archived.listings.check()
            forget_current_directory()
