"""The one place that touches CPython's private names, each with a fallback.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
(`importlib.machinery` is not among those: from Python 3.12 on it loads `warnings`, 1 to 4 ms.)
"""

import _imp
import builtins
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ExtensionFileLoader
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
    ExtensionFileLoader = _external.ExtensionFileLoader
    ModuleSpec = type(sys.__spec__)

# The integer that keys source hashes: public in none of the versions, the same number in all of them.
KEY = int.from_bytes(MAGIC_NUMBER, "little")

siphash = _imp.source_hash  # the C function behind `importlib.util.source_hash`, which would have to be loaded
# What `setting("check_hash_based_pycs")` returns is the interpreter's `--check-hash-based-pycs`, "default", "always" or
# "never" (PEP 552), or None; asked at every import, as importlib does.
setting = vars(_imp).get
_fix_filename = getattr(_imp, "_fix_co_filename", None)

# What the stock loader compiles with, and whether that is CPython's own and not what some tool has put in its place.
_source_to_code: "Any" = SourceFileLoader.source_to_code
_compile: "Any" = builtins.compile
_its_code = getattr(_source_to_code, "__code__", None)
_KNOWN_COMPILATION = (
    getattr(_its_code, "co_filename", "").startswith("<frozen importlib")
    and type(_compile) is type(len)
    and getattr(_compile, "__self__", None) is builtins
)

# CPython's own path search, which `find_in_listings` follows, unless names are looked up without regard to case (there
# `FileFinder` has rules of its own) or somebody wants to read of every step (`-v`).
_FOLLOWED = os.name == "posix" and not sys.platform.startswith(("cygwin", "darwin", "ios")) and not sys.flags.verbose
_path_search = getattr(PathFinder.find_spec, "__func__", None)
_directory_finder: "Any" = FileFinder
_directory_search = getattr(FileFinder, "find_spec", None)
_zipimporter = getattr(sys.modules.get("zipimport"), "zipimporter", None)
_here: "tuple[int, int, int] | None" = None  # the current directory's device, inode and mtime when it was last listed
_names_here: "set[str]" = set()  # the names in it, up to the first dot
# The path hooks that every interpreter begins with, unless somebody has been at them already: None.
_PLAIN_PATH_HOOKS = (
    [*sys.path_hooks]
    if [getattr(each, "__qualname__", "") for each in sys.path_hooks]
    == [
        "zipimporter",
        "FileFinder.path_hook.<locals>.path_hook_for_FileFinder",
    ]
    else None
)
_UNKNOWN = object()
NOWHERE: "Any" = object()  # instead of a spec


def source_hash(data: "bytes | memoryview", key: int = KEY) -> bytes:
    """Return the 8 bytes of SipHash that PEP 552 writes for a source; `key` is the writer's magic number."""
    return siphash(key, data)


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


def find_in_listings(  # noqa: C901, PLR0911, PLR0912, PLR0915 -- see below
    fullname: str,
    path: "Sequence[str]",
    known: "Callable[[str], bool] | None" = None,
    archived: "Any" = None,
) -> "Any":
    """Return the spec that `PathFinder` would find on this `path`; `NOWHERE`: none, as far as listings tell.

    `known`, if there is one, may say of a source that its directory lists that this is a file, which is not looked at then.
    `archived` are the directories that archives answer for, so that nobody looks at them (see `archive.Listings`).

    The same steps in the same order, through the listings that CPython's finders keep, without their calls and without
    what only other kinds of module need. None: there is a finder that is not CPython's or that somebody has changed,
    or a namespace package; then `PathFinder` has to be asked.

    One long function, because it runs for every module, between module bodies that push everything else out of the
    processor's caches: a call there costs several times what it does in a loop.
    """
    if not _FOLLOWED or PathFinder.find_spec.__func__ is not _path_search:  # type: ignore[attr-defined]
        return None
    if _directory_finder.find_spec is not _directory_search:
        return None
    if archived is not None and sys.path_hooks != _PLAIN_PATH_HOOKS:  # a tool has its own finders for directories
        archived = None
    name = fullname.rpartition(".")[2]
    finders = sys.path_importer_cache
    elsewhere: list[str] = []
    try:
        for entry in path:
            if type(entry) is not str:  # the path finder has its own mind about these
                return None
            if archived is not None and not entry and _is_not_here(name):
                continue
            place = entry or os.getcwd()
            finder: Any = finders.get(place, _UNKNOWN)
            if finder is None:  # nothing can be found there, as the path finder remembers
                continue
            if archived is not None and (finder is _UNKNOWN or type(finder) is _directory_finder):
                listing = archived[place]
                if listing is not None:
                    record = listing.get(name)
                    if record is None:
                        if "/" not in listing:
                            elsewhere = [*elsewhere, place]
                        continue
                    loader: Any
                    if type(record) is tuple:
                        offset, size, is_package = record
                        base = f"{place}/{name}"
                        package = [base] if is_package else None
                        origin = f"{base}/__init__.py" if is_package else f"{base}.py"
                        if archived.loader is None or name in archived.left_alone:
                            loader = SourceFileLoader(fullname, origin)
                        else:
                            loader = archived.loader(fullname, origin, archived.policies, (listing["."], offset, size))
                    elif record:
                        package, origin = None, f"{place}/{name}{record}"
                        loader = ExtensionFileLoader(fullname, origin)
                    else:
                        return None
                    spec: Any = ModuleSpec(fullname, loader, origin=origin)
                    spec._set_fileattr = True
                    spec.submodule_search_locations = package
                    if archived.suffix and type(record) is tuple:
                        spec._cached = f"{archived.prefix}{origin[:-2]}{archived.suffix}"
                    return spec
            if finder is _UNKNOWN:
                finder = _new_finder(place)
            if type(finder) is not _directory_finder:
                return None
            directory = finder.path
            if directory[:1] != "/" or directory[-1:] == "/":
                return None
            mtime = os.stat(directory).st_mtime
            if mtime != finder._path_mtime:
                finder._fill_cache()
                finder._path_mtime = mtime
            names = finder._path_cache
            base = f"{directory}/{name}"
            package = None
            if name in names:
                package = [base]
                base = f"{base}/__init__"
            for suffix, loader in finder._loaders:
                if package is not None:
                    try:
                        if not stat.S_ISREG(os.stat(base + suffix).st_mode):
                            continue
                    except OSError:
                        continue
                elif name + suffix not in names or (
                    (known is None or loader is not SourceFileLoader or not known(base + suffix))
                    and not stat.S_ISREG(os.stat(base + suffix).st_mode)
                ):
                    continue
                spec = ModuleSpec(fullname, loader(fullname, base + suffix), origin=base + suffix)
                spec._set_fileattr = True  # what `has_location` sets
                spec.submodule_search_locations = package
                return spec
            if package is not None:  # a portion of a namespace package, or a file without a suffix
                return None
    except (OSError, ValueError, TypeError, AttributeError):  # no such file, or not a path at all
        return None
    # What has come to a directory since the archive was built must be ours, too: the path finder's has a timestamp.
    return find_in_listings(fullname, elsewhere, known) if elsewhere else NOWHERE


def _is_not_here(name: str) -> bool:
    """Say whether nothing in the current directory has this name: one system call; its path alone would cost another."""
    global _here, _names_here  # noqa: PLW0603
    status = os.stat(".")
    now = status.st_dev, status.st_ino, status.st_mtime_ns
    if now != _here:
        _names_here = {each.partition(".")[0] for each in os.listdir(".")}
        _here = now
    return name not in _names_here


def look_again_here() -> None:
    """Forget the names in the current directory: one may have been added within what its mtime tells apart."""
    global _here  # noqa: PLW0603
    _here = None


def _new_finder(path: str) -> "Any":
    """Return the finder for a directory that no finder is known for yet, and have `PathFinder` know it, too.

    The hooks are asked in their order, but for zipimport's, which refuses every directory, at some length.
    """
    if stat.S_ISDIR(os.stat(path).st_mode):
        for hook in sys.path_hooks:
            if hook is not _zipimporter:
                try:
                    finder = sys.path_importer_cache[path] = hook(path)
                except ImportError:
                    continue
                return finder
    return _UNKNOWN


def hidden_from_tracebacks(function: "Function") -> "Function":
    """Give `function` importlib's own file name, so that CPython leaves its frame out of tracebacks too.

    CPython cuts runs of importlib's frames out of the traceback of a failed import (`remove_importlib_frames`
    in Python/import.c); one frame of ours among them would keep them all in sight of whoever mistyped a line.
    """
    theirs = SourceFileLoader.get_code.__code__.co_filename
    function.__code__ = function.__code__.replace(co_filename=theirs)
    return function


@hidden_from_tracebacks
def source_to_code(loader: "Any", data: bytes, path: str, fullname: str) -> "CodeType":
    """Compile as `loader` does; from Python 3.15 on it is told the module's name. Raises SyntaxError and its like."""
    if sys.version_info >= (3, 15):
        return loader.source_to_code(data, path, fullname)  # type: ignore[no-any-return]
    return loader.source_to_code(data, path)  # type: ignore[no-any-return]


def compiles_plainly(loader: "Any") -> bool:
    """Say whether `loader` compiles as CPython's `SourceFileLoader` does: no tool has changed a step of it meanwhile."""
    return (
        _KNOWN_COMPILATION
        and type(loader).source_to_code is _source_to_code
        and _source_to_code.__code__ is _its_code
        and builtins.compile is _compile
        and "compile" not in _source_to_code.__globals__
        and "source_to_code" not in loader.__dict__
    )


def records_columns() -> bool:
    """Say whether this interpreter compiles columns into code, as it does without `-X no_debug_ranges`."""
    return next(_compile("0", "", "exec").co_positions())[2] is not None


def is_standard_codec(name: str) -> bool:
    """Say whether Python itself brings the codec of this name; the codecs that come after those can be any tool's."""
    import encodings  # loaded already

    search = getattr(encodings, "search_function", None)
    return search is not None and search(name.lower()) is not None


def new_digest(prefix: bytes, size: int) -> "Any":
    """Return a BLAKE2b hash object for digests of `size` bytes that has been fed `prefix`.

    `_blake2` is what `hashlib` takes it from, which loads OpenSSL, too.
    """
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    return blake2b(prefix, digest_size=size)


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
    """Say whether an import statement has found this module and is not through with its body."""
    return getattr(getattr(module, "__spec__", None), "_initializing", False)
