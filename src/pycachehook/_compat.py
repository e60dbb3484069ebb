"""The one place that touches CPython's private names, each with a fallback.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
(`importlib.machinery` is not among those: from Python 3.12 on it loads `warnings`, 1 to 4 ms.)
"""

import _imp
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import FileFinder as FileFinder
    from importlib.machinery import ModuleSpec as ModuleSpec
    from importlib.machinery import PathFinder as PathFinder
    from importlib.machinery import SourceFileLoader as SourceFileLoader
    from importlib.util import MAGIC_NUMBER as MAGIC_NUMBER
    from types import CodeType, ModuleType
    from typing import Any, TypeVar

    Function = TypeVar("Function", bound=Callable[..., object])
else:
    try:
        import _frozen_importlib_external as _external

        MAGIC_NUMBER = _external.MAGIC_NUMBER
    except (ImportError, AttributeError):  # the documented names, at their price
        import importlib.machinery as _external
        from importlib.util import MAGIC_NUMBER
    SourceFileLoader = _external.SourceFileLoader
    PathFinder = _external.PathFinder
    FileFinder = _external.FileFinder
    ModuleSpec = type(sys.__spec__)

# The integer that keys source hashes: public in none of the versions, the same number in all of them.
_KEY = int.from_bytes(MAGIC_NUMBER, "little")

_siphash = _imp.source_hash  # the C function behind `importlib.util.source_hash`, which would have to be loaded
_fix_filename = getattr(_imp, "_fix_co_filename", None)

_PATH_SEARCH = PathFinder.__dict__.get("find_spec")
_DIRECTORY_SEARCH = FileFinder.__dict__.get("find_spec")
# Where file names are looked up without regard to case, `FileFinder` has rules of its own.
_EXACT_CASE = os.name == "posix" and not sys.platform.startswith(("cygwin", "darwin", "ios"))

# From Python 3.15 on, `source_to_code` takes the module's name as a third argument.
SOURCE_TO_CODE_TAKES_NAME = sys.version_info >= (3, 15)


def source_hash(data: "bytes | memoryview", key: int = _KEY) -> bytes:
    """Return the 8 bytes of SipHash that PEP 552 writes for a source; `key` is the writer's magic number."""
    return _siphash(key, data)


def check_hash_based_pycs() -> str:
    """Return the interpreter's `--check-hash-based-pycs`: "default", "always" or "never" (PEP 552)."""
    try:
        return _imp.check_hash_based_pycs
    except AttributeError:
        return "default"


def set_filename(code: "CodeType", path: str) -> "CodeType":
    """Return `code` with `path` as `co_filename` in it and in all that it contains, as the stock loader does."""
    if _fix_filename is not None:
        _fix_filename(code, path)
        return code
    if code.co_filename == path:
        return code
    kind = type(code)
    constants = tuple(set_filename(each, path) if isinstance(each, kind) else each for each in code.co_consts)
    return code.replace(co_filename=path, co_consts=constants)


def is_stock_path_search(finder: object) -> bool:
    """Say whether a meta-path finder is CPython's `PathFinder`, searching as it came, with nobody listening (`-v`)."""
    return (
        finder is PathFinder
        and _EXACT_CASE
        and not sys.flags.verbose
        and PathFinder.__dict__.get("find_spec") is _PATH_SEARCH
        and FileFinder.__dict__.get("find_spec") is _DIRECTORY_SEARCH
    )


def current_listing(finder: object) -> "tuple[str, set[str], list[tuple[str, Callable[[str, str], Any]]]] | None":
    """Return `(directory, names in it, [(suffix, loader class)])` as a stock `FileFinder` knows them.

    None if it is no such finder, or has not read its directory since that changed: then it has to be asked.
    """
    if type(finder) is not FileFinder:
        return None
    try:
        path = finder.path
        if path[:1] != "/" or path[-1:] == "/" or os.stat(path).st_mtime != finder._path_mtime:  # type: ignore[attr-defined] # noqa: SLF001
            return None
        listing = path, finder._path_cache, finder._loaders  # type: ignore[attr-defined] # noqa: SLF001
    except (OSError, ValueError, AttributeError):
        return None
    return listing


def hidden_from_tracebacks(function: "Function") -> "Function":
    """Give `function` importlib's own file name, so that CPython leaves its frame out of tracebacks too.

    CPython cuts runs of importlib's frames out of the traceback of a failed import (`remove_importlib_frames`
    in Python/import.c); one frame of ours among them would keep them all in sight of whoever mistyped a line.
    """
    theirs = SourceFileLoader.get_code.__code__.co_filename
    function.__code__ = function.__code__.replace(co_filename=theirs)
    return function


def being_imported(packages: tuple[str, ...]) -> bool:
    """Say whether any thread is halfway through a module of the standard library or of `packages`."""
    for name, module in list(sys.modules.items()):
        if _is_halfway(module):
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names or top in packages:
                return True
    return False


def finished_module(name: str) -> "ModuleType | None":
    """Import and return the module `name`; None if it cannot be had, or while some thread is halfway through it."""
    module = sys.modules.get(name)
    if module is None:
        try:
            __import__(name)
        except Exception:  # noqa: BLE001 -- the package has been removed under us
            return None
        module = sys.modules[name]
    return None if _is_halfway(module) else module


def _is_halfway(module: object) -> bool:
    return getattr(getattr(module, "__spec__", None), "_initializing", False)
