"""The code that a cache holds for sources, so that `archive build` compiles only what has no valid entry."""

import marshal
import operator
import sys
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
    """Return equal code whose marshalled form does not depend on how, and in which process, the code was obtained.

    The output of `marshal` depends on reference counts, on which strings are interned, and on which constants are one
    object. CPython makes equal constants of a source one object, with exceptions if the process already had the
    interned form of a string: then it copies a frozenset or slice with that string for each code object, and a nested
    class has two strings for its qualified name. Up to Python 3.12 there is also a single object for each character of
    Latin-1 and for each name such as `<lambda>`, which any code may intern.
    """
    again: types.CodeType = marshal.loads(marshal.dumps(_canonical_code(code, {})))
    return again


def _canonical_code(code: types.CodeType, made: dict[tuple[Any, ...], Any]) -> types.CodeType:
    """Return equal code in which these constants and names are one object.

    Code in which that makes no difference is returned as it is, because code made anew does not share its tuples of
    names.
    """
    name = sys.intern(code.co_name)
    qualified = name if code.co_qualname == name else code.co_qualname
    constants = code.co_consts
    if "." in qualified and any(type(each) is str and each == qualified for each in constants):
        constants = tuple([qualified if type(each) is str and each == qualified else each for each in constants])
    constants = _canonical(constants, made)
    if constants is code.co_consts and name.isidentifier():
        return code
    return code.replace(co_name=name, co_qualname=qualified, co_consts=constants)


def _canonical(value: Any, made: dict[tuple[Any, ...], Any]) -> Any:
    """Return an equal constant in which sets and slices of the same objects are one object; `made` collects these."""
    kind = type(value)
    if kind is types.CodeType:
        return _canonical_code(value, made)
    if kind is str and len(value) == 1 and value <= "\xff":
        return sys.intern(value)
    if kind is slice:
        parts = [_canonical(part, made) for part in (value.start, value.stop, value.step)]
        return made.setdefault((kind, *map(id, parts)), slice(*parts))
    if kind is tuple or kind is frozenset:
        items = [_canonical(item, made) for item in value]
        if kind is tuple and all(map(operator.is_, items, value)):
            return value
        return made.setdefault((kind, kind(map(id, items))), kind(items))
    return value


def _has_columns(code: types.CodeType) -> bool:
    return any(position[2] is not None for position in code.co_positions())
