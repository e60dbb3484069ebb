"""The code that a cache has of sources: `archive build` compiles only what has no valid entry."""

import marshal
import types
from typing import Any

from pycachehook import pyc
from pycachehook._compat import records_columns, source_hash
from pycachehook.cache_dir import DISABLED, fault_of
from pycachehook.events import Miss, Stats
from pycachehook.loader import Policies
from pycachehook.runtime import compose
from pycachehook.system import ENTRY_FLAGS, read_file


class CachedCode:
    """The caches that option `values` name, of which nothing is made or changed."""

    def __init__(self, values: dict[str, Any]) -> None:
        read_only = {"archives": (), "read_only": True, "in_tree": "ignore", "strict": False}
        composed = compose({**values, **read_only}, Stats(), look_only=True)
        self._policies = Policies()
        self._policies.replace(composed.default, composed.rules)
        self._columns = records_columns()

    def of(self, path: str, source: bytes) -> tuple[types.CodeType, bool] | None:
        """Return the code of the entry for the source at `path`, which has these bytes, and whether compiling it warned.

        None: it must be compiled.

        An entry is taken only if a seal proves that it is whole, and its hash that it was made from these bytes: a
        timestamp, or the mode of the cache, does not do.
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
    """Return the same code with constants of its own, as `marshal` reads it back.

    What `marshal` writes depends on which constants are one object, on how many references there are to each, the
    compiler's own included, and on whether a string is interned, for whatever reason. After this, code has the same
    bytes whether it has just been compiled or comes from a cache.
    """
    again: types.CodeType = marshal.loads(marshal.dumps(_rebuilt(code, {})))
    return again


def _rebuilt(value: Any, made: dict[tuple[type, str], Any]) -> Any:
    """Return a constant that is equal, with one object for all equal strings and numbers, which `made` collects."""
    kind = type(value)
    if kind is types.CodeType:
        return value.replace(
            co_consts=tuple([_rebuilt(each, made) for each in value.co_consts]),
            co_name=_rebuilt(value.co_name, made),
            co_qualname=_rebuilt(value.co_qualname, made),
            co_filename=_rebuilt(value.co_filename, made),
        )
    if kind in (tuple, frozenset):
        return kind([_rebuilt(each, made) for each in value])
    if kind not in (str, bytes, int, float, complex):
        return value
    key = kind, value if kind is str else repr(value)
    if key not in made:
        made[key] = marshal.loads(marshal.dumps(value, 2)) if kind is not str else _not_interned(value)
    return made[key]


def _not_interned(text: str) -> str:
    """Return a string that is equal; a code object interns it again if it looks like a name."""
    return text if len(text) <= 1 else "".join((text[:1], text[1:]))


def _has_columns(code: types.CodeType) -> bool:
    return any(position[2] is not None for position in code.co_positions())
