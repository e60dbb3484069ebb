"""What the deallocation of objects may do outside the process, as far as Python code can see it.

For `gc = "freeze"`, which decides by it how the interpreter exits. None of these functions runs code of the program.
"""

import _io
import sys
from _weakref import CallableProxyType, ProxyType, ref
from gc import get_referents, is_tracked
from itertools import compress, filterfalse

from .system import BUILTINS

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet
    from typing import Any

_mro_of: "Any" = type.__dict__["__mro__"].__get__  # ignores what a metaclass defines
_names_of: "Any" = type.__dict__["__dict__"].__get__
_module_of: "Any" = type.__dict__["__module__"].__get__
_base_of: "Any" = type.__dict__["__base__"].__get__
_size_of: "Any" = type.__dict__["__basicsize__"].__get__
_dictoffset_of: "Any" = type.__dict__["__dictoffset__"].__get__
_flags_of: "Any" = type.__dict__["__flags__"].__get__
_callback_of: "Any" = ref.__dict__["__callback__"].__get__

# Files without unwritten data, which the operating system closes. (`-X dev` and `-W` may enable a ResourceWarning.)
_UNBUFFERED = (_io.FileIO, _io.BufferedReader, _io.BytesIO, _io.StringIO)
_FILES = (_io.TextIOWrapper, _io.BufferedWriter, _io.BufferedRandom, _io.BufferedRWPair, *_UNBUFFERED)
_WARNS = sys.flags.dev_mode or bool(sys.warnoptions)
_GENERATOR = type(_ for _ in ())
_FUNCTION: "Any" = type(lambda: None)
_BUILTIN: "Any" = type(len)
_POINTER = tuple.__itemsize__  # bytes
# Types that write data when they are deallocated, but have no finalizer that is visible from Python.
_WRITES_WHEN_DEALLOCATED = (("sqlite3", "Connection"), ("_gdbm", "gdbm"), ("_dbm", "dbm"))
# Types of the interpreter whose instances have no effect outside the process when they are deallocated, except those
# with a finalizer, which `could_act` examines. In `builtins`, where types of extensions may claim to be, by name.
_NAMES_OF_MODULES = (
    "_abc _collections _contextvars _datetime _decimal _functools _io _json _operator _random _sre _struct "
    "_thread _typing _weakref Token collections datetime decimal functools itertools operator re threading types typing "
    "weakref"
)
_INERT_MODULES = frozenset(_NAMES_OF_MODULES.split())
_NAMES_OF_TYPES = (
    "builtin_function_or_method builtin_method cell classmethod_descriptor code coroutine dict_itemiterator "
    "dict_items dict_keyiterator dict_keys dict_valueiterator dict_values ellipsis frame function generator "
    "getset_descriptor hamt hamt_array_node hamt_bitmap_node hamt_collision_node lazy_import list_iterator mappingproxy "
    "member_descriptor method method-wrapper method_descriptor module NoDefaultType NoneType NotImplementedType odict_items "
    "odict_keys odict_values set_iterator "
    "str_iterator traceback tuple_iterator wrapper_descriptor"
)
_INERT_INTERNALS = frozenset(_NAMES_OF_TYPES.split())
_INERT_BUILTINS = frozenset(kind for kind in BUILTINS.values() if isinstance(kind, type))
_MEMBER = type(type.__dict__["__basicsize__"])  # the type of a slot's descriptor
# Callbacks that only update a container, by module and name.
_INERT_CALLBACKS = (
    ("weakref", "remove"),
    ("_weakrefset", "_remove"),
    ("logging", "_removeHandlerRef"),
    ("_frozen_importlib", "cb"),
    ("importlib._bootstrap", "cb"),
)
_UNTRACKED = frozenset((tuple, dict))
_PROXIES = frozenset((ProxyType, CallableProxyType))
_MANAGED_WEAKREF, _MANAGED_DICT = 1 << 3, 1 << 4  # flags of types: these pointers are not among the fields


def has_finalizer(kind: type) -> bool:
    """Return whether instances of a type have a finalizer, as far as Python code can see, that has to run."""
    for base in _mro_of(kind):
        if "__del__" in _names_of(base):
            if _module_of(base) == "_socket":  # the operating system closes the descriptor as well
                return _WARNS
            return _WARNS or kind not in _UNBUFFERED
    return (_module_of(kind), kind.__qualname__) in _WRITES_WHEN_DEALLOCATED


def are_inert(objects: "list[Any]", kinds: "set[type]") -> bool:
    """Return whether the deallocation of these objects, and of what they refer to, has no effect outside the process.

    `kinds` are their types. The finalizers of the objects themselves, and the callbacks of weak references, have been
    examined already.
    """
    if not all(map(is_inert, kinds)):
        return False
    kinds = set()
    found = get_referents(*objects)  # includes objects that the collector does not track
    while found:
        kinds.update(map(type, found))
        # The collector does not track containers that only contain what it does not track.
        found = get_referents(*filterfalse(is_tracked, of_kinds(found, _UNTRACKED)))
    return all(map(is_inert, kinds))


def callbacks_could_act(objects: "list[Any]", kinds: "set[type]") -> bool:
    """Return whether one of these objects, of these types, is a weak reference whose callback may have an effect."""
    callbacks = [*map(_callback_of, of_kinds(objects, {kind for kind in kinds if ref in _mro_of(kind)}))]
    callbacks += get_referents(*of_kinds(objects, _PROXIES & kinds))  # what they refer to strongly
    return not all(map(_is_inert_callback, callbacks))


def of_kinds(objects: "list[Any]", kinds: "AbstractSet[type]") -> "Iterable[Any]":
    """Return the objects of these types; this executes no Python code for each object, since there are many."""
    if not kinds:
        return ()
    return compress(objects, map(kinds.__contains__, map(type, objects)))


def _is_inert_callback(callback: "Any") -> bool:
    """Return whether the callback of a weak reference only updates the container of the reference."""
    if type(callback) is _FUNCTION:
        # Not `__module__`, which `functools.wraps` copies.
        return (dict.get(callback.__globals__, "__name__"), callback.__code__.co_name) in _INERT_CALLBACKS
    # The callbacks of `_abc` and `_thread` are methods of other weak references.
    return callback is None or (type(callback) is _BUILTIN and ref in _mro_of(type(callback.__self__)))


def is_inert(kind: type) -> bool:
    """Return whether instances of a type consist of attributes and slots of types known to be inert."""
    while kind not in _INERT_BUILTINS:
        base = _base_of(kind)
        if not _is_defined_in_python(kind, base):
            module = _module_of(kind)
            return type(module) is str and (
                module in _INERT_MODULES or (module == "builtins" and kind.__qualname__ in _INERT_INTERNALS)
            )
        kind = base
    return True


def _is_defined_in_python(kind: type, base: type) -> bool:
    """Return whether a type adds no fields to its base but those that a class statement, or `structseq`, may add.

    A type of an extension may have nothing but fields that Python code can read, or none at all. Unlike a class, it has
    no `__slots__`, and no `__dict__` beside them.
    """
    names = _names_of(kind)
    has_slots = "__slots__" in names
    if not (has_slots or "__dict__" in names or _dictoffset_of(base)):
        return base is tuple and "n_sequence_fields" in names
    fields = [*map(type, names.values())].count(_MEMBER) if has_slots else 0
    fields += "__dict__" in names and not _flags_of(kind) & _MANAGED_DICT
    fields += "__weakref__" in names and not _flags_of(kind) & _MANAGED_WEAKREF
    return bool(_size_of(kind) - _size_of(base) <= fields * _POINTER)


def could_act(referent: "Any") -> bool:
    """Return whether running the finalizer of `referent` may have an effect outside the process."""
    kind = type(referent)
    if kind is _GENERATOR:
        return bool(referent.gi_suspended)  # one that has not started, or has ended, runs no code
    if kind not in _FILES:
        return True
    if any(referent is stream for stream in _standard_streams()):
        return False
    try:
        return not referent.closed
    except Exception:  # noqa: BLE001 -- detached, or with a raw file that a tool defines
        return True


def _standard_streams() -> "list[Any]":
    """Return the standard streams, which the interpreter flushes itself, and the files that they write to."""
    names = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
    streams = [getattr(sys, name, None) for name in names]
    for name in ("buffer", "raw"):
        streams += [getattr(stream, name, None) for stream in streams if type(stream) in _FILES]
    return streams
