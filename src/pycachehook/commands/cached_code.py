"""The code that a cache holds for sources, so that `archive build` compiles only what has no valid entry."""

import marshal
import types
from typing import Any

from pycachehook import pyc
from pycachehook._compat import source_hash
from pycachehook.cache_dir import DISABLED, fault_of
from pycachehook.content_store import records_columns
from pycachehook.events import Miss, Stats
from pycachehook.runtime import compose
from pycachehook.system import ENTRY_FLAGS, read_file

from .composed import Composed


def composed(values: dict[str, Any]) -> Composed:
    """Return the caches that option `values` name, of which nothing is made or changed."""
    read_only = {"archives": (), "read_only": True, "in_tree": "ignore", "strict": False}
    return Composed(compose({**values, **read_only}, Stats(), look_only=True))


class CachedCode:
    """What some caches have of sources."""

    def __init__(self, caches: Composed) -> None:
        self._policies = caches.policies()
        self._columns = records_columns()

    def of(self, path: str, source: bytes) -> tuple[types.CodeType, bool] | None:
        """Return the code of the entry for the source at `path`, and whether compiling it emitted warnings.

        Returns None if the source, whose bytes are `source`, has to be compiled. An entry is used only if its seal
        proves that it is complete and both hashes match the source; a timestamp is not sufficient, whatever the cache's
        mode.
        """
        policy = self._policies.of(path)
        store = None if policy is None else policy.store
        if store is None or store.directory.status == DISABLED:
            return None
        try:
            data, status = read_file(store.location(path, source), ENTRY_FLAGS)
            if fault_of(status, store.directory.owners) is not None or not pyc.is_sealed(data):
                return None
            flags, stamp, check, code = pyc.load(data, path)
        except (OSError, Miss):
            return None
        same = bool(flags & pyc.HASH_BASED) and stamp == source_hash(source)
        same = same and check == pyc.second_hash(source)
        return (code, pyc.warned(data)) if same and _has_columns(code) == self._columns else None


def normalized(code: types.CodeType) -> types.CodeType:
    """Return equal code whose marshalled form does not depend on how the code was obtained.

    The output of `marshal` depends on which constants are one object, which is the same for code that has just been
    compiled and for code from a cache, and on reference counts, which are not.
    """
    again: types.CodeType = marshal.loads(marshal.dumps(code))
    return again


def _has_columns(code: types.CodeType) -> bool:
    return any(position[2] is not None for position in code.co_positions())
