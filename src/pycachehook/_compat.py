"""The one place that touches CPython's private names, each with a fallback.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
(`importlib.machinery` is not among those: from Python 3.12 on it loads `warnings`, 1 to 4 ms.)
"""

import sys

import _imp

try:
    import _frozen_importlib_external as _external
except ImportError:  # another implementation: the documented names, at their price
    import importlib.machinery as _external
    from importlib.util import MAGIC_NUMBER
else:
    MAGIC_NUMBER = _external.MAGIC_NUMBER

SourceFileLoader = _external.SourceFileLoader
PathFinder = _external.PathFinder

# The integer that keys source hashes: public in none of the versions, the same number in all of them.
_KEY = int.from_bytes(MAGIC_NUMBER, "little")

# From Python 3.15 on, `source_to_code` takes the module's name as a third argument.
SOURCE_TO_CODE_TAKES_NAME = sys.version_info >= (3, 15)

_IMPORTLIB_FILE = getattr(_external, "__loader__", None) and _external.SourceFileLoader.get_code.__code__.co_filename


def source_hash(data, key: int = _KEY) -> bytes:
    """Return the 8 bytes of SipHash that PEP 552 writes for a source; `key` is the writer's magic number."""
    return _imp.source_hash(key, data)


def check_hash_based_pycs() -> str:
    """Return the interpreter's `--check-hash-based-pycs`: "default", "always" or "never" (PEP 552)."""
    return getattr(_imp, "check_hash_based_pycs", "default")


def set_filename(code, path: str):
    """Return `code` with `path` as `co_filename` in it and in all that it contains, as the stock loader does."""
    fix = getattr(_imp, "_fix_co_filename", None)
    if fix is not None:
        fix(code, path)
        return code
    if code.co_filename == path:
        return code
    kind = type(code)
    constants = tuple(set_filename(each, path) if type(each) is kind else each for each in code.co_consts)
    return code.replace(co_filename=path, co_consts=constants)


def hidden_from_tracebacks(function):
    """Give `function` importlib's own file name, so that CPython leaves its frame out of tracebacks too.

    CPython cuts runs of importlib's frames out of the traceback of a failed import (`remove_importlib_frames`
    in Python/import.c); one frame of ours among them would keep them all in sight of whoever mistyped a line.
    """
    if _IMPORTLIB_FILE:
        function.__code__ = function.__code__.replace(co_filename=_IMPORTLIB_FILE)
    return function


def being_imported(prefixes: tuple) -> bool:
    """Say whether any thread is in the middle of importing a module of the standard library or of `prefixes`."""
    stdlib = sys.stdlib_module_names
    for name, module in list(sys.modules.items()):
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            top = name.partition(".")[0]
            if top in stdlib or top in prefixes:
                return True
    return False


def finished_module(name: str):
    """Import and return a module of this package, or None while some thread is still importing it."""
    module = sys.modules.get(name)
    if module is None:
        return _import_leaf(name)
    if getattr(module.__spec__, "_initializing", False):
        return None
    return module


def _import_leaf(name: str):
    __import__(name)
    return sys.modules[name]
