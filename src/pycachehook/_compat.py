"""CPython's private names, each with a fallback; no other module uses any.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
(`importlib.machinery` is not one of those: from Python 3.12 on it loads `warnings`, which takes 1 to 4 ms.)
It is longer than other modules because one more module would slow down every start.
"""

import _imp
import _thread
import _warnings
import builtins
import sys

from . import environ
from .system import BUILTINS, builtin_module, is_foreign, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import BuiltinImporter as BuiltinImporter
    from importlib.machinery import ExtensionFileLoader as ExtensionFileLoader
    from importlib.machinery import FileFinder as FileFinder
    from importlib.machinery import FrozenImporter as FrozenImporter
    from importlib.machinery import ModuleSpec as ModuleSpec
    from importlib.machinery import PathFinder as PathFinder
    from importlib.machinery import SourceFileLoader as SourceFileLoader
    from importlib.util import MAGIC_NUMBER as MAGIC_NUMBER
    from types import CodeType
    from typing import Any, TypeVar

    Function = TypeVar("Function", bound=Callable[..., object])
    _external: Any
else:
    try:
        import _frozen_importlib_external as _external

        MAGIC_NUMBER = _external.MAGIC_NUMBER
    except (ImportError, AttributeError):  # the documented modules, which load more slowly
        import importlib.machinery as _external
        from importlib.util import MAGIC_NUMBER
    SourceFileLoader = _external.SourceFileLoader
    PathFinder = _external.PathFinder
    FileFinder = _external.FileFinder
    ExtensionFileLoader = _external.ExtensionFileLoader
    ModuleSpec = type(sys.__spec__)
    _core = _external._bootstrap
    BuiltinImporter, FrozenImporter = _core.BuiltinImporter, _core.FrozenImporter

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

_FRAMES_SHOWN = not sys.flags.ignore_environment and bool(environ().get("PYCACHEHOOK_FRAMES"))

EXTENSION_SUFFIXES: "tuple[str, ...]" = tuple(system.imp.extension_suffixes())

_BUILTIN_NAMES = sys.builtin_module_names
_VERSION = "python{}.{}{}".format(*system.version, "t" if "t" in getattr(sys, "abiflags", "") else "")
# Where the interpreter's own extension modules lie.
_EXTENSION_FOLDERS = tuple(
    f"{prefix}/{folder}/{_VERSION}/lib-dynload"
    for prefix in (sys.base_exec_prefix, sys.base_prefix)
    for folder in (sys.platlibdir, "lib")
)

# The key of source hashes (PEP 552) as an integer: CPython has had different names for it, but it is always this
# number.
KEY = int.from_bytes(MAGIC_NUMBER, "little")

# The C function behind `importlib.util.source_hash`; importing that would cost time.
siphash: "Callable[[int, Any], bytes]" = system.imp.source_hash
# `imp_attribute("check_hash_based_pycs")` returns the value of `--check-hash-based-pycs`, "default", "always" or
# "never" (PEP 552), or None. importlib reads it at every import, so callers do the same.
imp_attribute = vars(_imp).get
_fix_filename = getattr(system.imp, "_fix_co_filename", None)

_METHOD_NAMES = (
    "get_code",
    "source_to_code",
    "get_data",
    "path_stats",
    "path_mtime",
    "set_data",
    "_cache_bytecode",
    "exec_module",
    "create_module",
    "get_filename",
)
_FUNCTION_NAMES = (
    "cache_from_source",
    "_compile_bytecode",
    "_classify_pyc",
    "_validate_hash_pyc",
    "_validate_timestamp_pyc",
    "_code_to_hash_pyc",
    "_code_to_timestamp_pyc",
    "_io",
    "_os",
    "_imp",
    "marshal",
)


def _present_steps() -> "tuple[Any, ...]":
    """Return the steps of the standard loader in the form of the start-up module's `recorded_steps`."""
    methods = [getattr(SourceFileLoader, name, None) for name in _METHOD_NAMES]
    functions = [getattr(_external, name, None) for name in _FUNCTION_NAMES]
    bootstrap: Any = getattr(_external, "_bootstrap", None)
    steps = (*methods, *functions, getattr(bootstrap, "_call_with_frames_removed", None))
    codes = [getattr(step, "__code__", None) for step in steps]
    defaults = dict(getattr(methods[1], "__kwdefaults__", None) or {})  # `_optimize` of `source_to_code`
    return (*steps, *codes, bootstrap, builtins.compile, getattr(functions[7], "open_code", None), defaults)


# The steps of the standard loader at the time when this module was loaded, or, if modules of the standard library have
# been imported before, when the start-up module recorded them; see `replaced_step`.
_recorded: "tuple[Any, ...]" = globals().get("RECORDED_STEPS") or _present_steps()
METHODS: "dict[str, Any]" = dict(zip(_METHOD_NAMES, _recorded, strict=False))
FUNCTIONS: "dict[str, Any]" = dict(zip(_FUNCTION_NAMES, _recorded[len(METHODS) :], strict=False))
_GLOBALS: "dict[str, Any]" = vars(_external)
_GET_CODE, _SOURCE_TO_CODE, _GET_DATA = (METHODS[name] for name in ("get_code", "source_to_code", "get_data"))
_PATH_STATS, _EXEC_MODULE = METHODS["path_stats"], METHODS["exec_module"]
_SET_DATA, _CACHE_BYTECODE = METHODS["set_data"], METHODS["_cache_bytecode"]
_CREATE_MODULE, _GET_FILENAME = METHODS["create_module"], METHODS["get_filename"]
_CACHE_FROM_SOURCE, _COMPILE_BYTECODE, _CLASSIFY, _VALIDATE_HASH, _VALIDATE_TIME, _TO_HASH_PYC, _TO_TIME_PYC = (
    *FUNCTIONS.values(),
)[:7]
_IO, _OS, _IMP, _MARSHAL = (*FUNCTIONS.values(),)[7:]
_BOOTSTRAP, _compile, _OPEN_CODE, _DEFAULTS = _recorded[-4:]
_count = len(METHODS) + len(FUNCTIONS) + 1
_CALL = _recorded[_count - 1]
_OTHER_STEPS = tuple(
    (step, code)
    for step, code in zip(_recorded[:_count], _recorded[_count:], strict=False)
    if code is not None and step in (*METHODS.values(), _CACHE_FROM_SOURCE, _COMPILE_BYTECODE, _CALL)
)
_SPEC_FROM_FILE, _GET_SPEC = getattr(_external, "spec_from_file_location", None), getattr(FileFinder, "_get_spec", None)
_GET_ATTRIBUTE: "Any" = object.__getattribute__  # of a loader: decides which of its steps run
# A step that somebody had replaced before this module was loaded, or that this CPython does not have.
_UNKNOWN_STEP = next(
    (
        name
        for name, step in (*METHODS.items(), *FUNCTIONS.items(), ("_call_with_frames_removed", _CALL))
        if type(step) is not type(sys)
        and not getattr(getattr(step, "__code__", None), "co_filename", "").startswith("<frozen importlib")
    ),
    next(
        (
            name
            for name, module in (("_io", _IO), ("_imp", _IMP), ("marshal", _MARSHAL), ("_frozen_importlib", _BOOTSTRAP))
            if module is not sys.modules.get(name)
        ),
        next(
            (
                name
                for name, function, module in (("compile", _compile, builtins), ("open_code", _OPEN_CODE, _IO))
                if type(function) is not type(len) or getattr(function, "__self__", None) is not module
            ),
            None,
        ),
    ),
)
acquire_import_lock, release_import_lock = system.imp.acquire_lock, system.imp.release_lock


def source_hash(data: "bytes | memoryview", key: int = KEY) -> bytes:
    """Return the 8-byte SipHash of a source (PEP 552); `key` is the magic number of the writing interpreter."""
    return siphash(key, data)


def set_filename(code: "CodeType", path: str) -> "CodeType":
    """Set `co_filename` of `code` and of all code objects nested in it to `path`, as the standard loader does."""
    if _fix_filename is not None:
        _fix_filename(code, path)
        return code
    if code.co_filename == path:
        return code
    kind = type(code)
    constants = tuple(set_filename(item, path) if isinstance(item, kind) else item for item in code.co_consts)
    return code.replace(co_filename=path, co_consts=constants)


def hidden_from_tracebacks(function: "Function") -> "Function":
    """Give `function` importlib's file name, so that CPython removes its frame from tracebacks.

    CPython removes runs of importlib's frames from the traceback of a failed import (`remove_importlib_frames` in
    Python/import.c). A frame of this package among them would leave all of them in the user's traceback.

    With `PYCACHEHOOK_FRAMES` set they keep their own file, for breakpoints and coverage.
    """
    if _FRAMES_SHOWN:
        return function
    importlib_file = SourceFileLoader.get_code.__code__.co_filename
    function.__code__ = function.__code__.replace(co_filename=importlib_file)
    return function


# Actions of warning filters that do not raise, and the functions of `warnings` that show a warning.
_QUIET_ACTIONS = ("default", "always", "all", "ignore", "module", "once")
_SHOWING_STEPS = ("showwarning", "_showwarnmsg", "_showwarnmsg_impl", "formatwarning", "_formatwarnmsg")


class _Probe:
    """A substitute for a warning filter's message pattern that matches no warning but records that there was one."""

    __slots__ = ("seen", "thread")

    def __init__(self) -> None:
        self.seen = False
        self.thread = system.get_ident()

    def match(self, _text: str) -> bool:
        """Record a warning of this thread, and return False, so that the other filters decide what happens to it."""
        if system.get_ident() == self.thread:
            self.seen = True
        return False


@hidden_from_tracebacks
def note_warnings(compilation: "Callable[..., CodeType]", *arguments: "Any") -> "tuple[CodeType, bool]":
    """Return the result of `compilation(*arguments)`, and whether it emitted a warning, even an ignored one.

    The warnings are handled as usual. While the function runs, a filter that matches nothing is first in the list.
    """
    module = sys.modules.get("warnings")
    filters = getattr(module, "filters", None) if module is not None else getattr(_warnings, "filters", None)
    context = getattr(_warnings, "_warnings_context", None)  # 3.14: filters of a context precede these
    if type(filters) is not list or (context is not None and context.get(None) is not None):
        return compilation(*arguments), True  # cannot be observed: "warned" is slower to load, but never wrong
    probe = _Probe()
    entry: Any = ("default", probe, Warning, None, 0)
    try:  # each step is one call of a function in C, because a signal handler may raise between two calls
        filters.insert(0, entry)
        code = compilation(*arguments)
    finally:
        try:  # noqa: SIM105 -- as above
            filters.remove(entry)
        except ValueError:  # the program has replaced the list's contents meanwhile
            pass
    return code, probe.seen


def filters_decide() -> bool:
    """Return whether warning filters make a difference to an import: some were given, or a warning may raise.

    `python -W`, PYTHONWARNINGS and `-b` give some; a program that calls `warnings.filterwarnings("error")` adds one. A
    malformed filter raises, too, and so may a function that the program has put in place of `warnings.showwarning`.
    """
    if sys.warnoptions:
        return True
    module = sys.modules.get("warnings", _warnings)
    if "error" in (getattr(module, "defaultaction", None), getattr(module, "_defaultaction", None)):
        return True  # what happens to a warning that no filter matches
    found = [getattr(module, "filters", ())]
    context = getattr(_warnings, "_warnings_context", None)  # 3.14: filters of a context come before these
    found.append(getattr(context.get(None) if context is not None else None, "_filters", ()))
    return any(_may_raise(each) for filters in found for each in filters or ()) or any(
        _is_replaced(getattr(module, name, None)) for name in _SHOWING_STEPS
    )


def _may_raise(entry: "Any") -> bool:
    """Return whether this entry of `warnings.filters` raises for a warning, or may do so."""
    if type(entry) is not tuple or len(entry) != 5:  # noqa: PLR2004 -- CPython raises ValueError for others
        return True
    action, message, category, module, line = entry
    for pattern in (message, module):
        kind = type(pattern)
        if pattern is not None and kind is not str and kind is not _Probe and kind.__module__ != "re":
            return True
    return (
        type(action) is not str or action not in _QUIET_ACTIONS or type(category) is not type or type(line) is not int
    )


def _is_replaced(function: "Any") -> bool:
    """Return whether a step that shows warnings has been replaced by a function that may raise.

    The functions that `catch_warnings(record=True)` and `logging.captureWarnings` put there do not.
    """
    kind = type(function)
    if kind is type(_may_raise):
        return function.__module__ not in ("warnings", "_py_warnings", "logging")
    return function is not None and (kind is not type(len) or type(function.__self__) is not list)


@hidden_from_tracebacks
def stock_source_to_code(data: bytes, path: str, fullname: str) -> "CodeType":
    """Compile as CPython's own `source_to_code` does, even if it has been replaced since it was checked.

    For code that will be stored, so that a tool that another thread installs temporarily has no effect on it.
    """
    if system.version >= (3, 15):
        return _CALL(_compile, data, path, "exec", dont_inherit=True, optimize=-1, module=fullname)  # type: ignore[no-any-return]
    return _CALL(_compile, data, path, "exec", dont_inherit=True, optimize=-1)  # type: ignore[no-any-return]


def replaced_step(loader: "Any") -> str | None:
    """Return the name of a step of CPython's `SourceFileLoader` that a tool has replaced in this process, or None.

    Macro expanders, instrumenting profilers and similar tools replace methods of the class, functions and modules that
    it uses in `importlib._bootstrap_external`, or `builtins.compile`. The code that such a process compiles differs
    from what CPython would compile, so it must neither be cached nor be taken from a cache.
    """
    if _UNKNOWN_STEP is not None:
        return _UNKNOWN_STEP
    kind: Any = type(loader)
    if (
        SourceFileLoader.get_code is _GET_CODE
        and kind.source_to_code is _SOURCE_TO_CODE
        and kind.get_data is _GET_DATA
        and SourceFileLoader.path_stats is _PATH_STATS
        and SourceFileLoader.exec_module is _EXEC_MODULE
        and SourceFileLoader.create_module is _CREATE_MODULE
        and kind.get_filename is _GET_FILENAME
        and kind.__getattribute__ is _GET_ATTRIBUTE
        and kind.set_data is _SET_DATA
        and kind._cache_bytecode is _CACHE_BYTECODE
        and _external.cache_from_source is _CACHE_FROM_SOURCE
        and _external._compile_bytecode is _COMPILE_BYTECODE
        and _external._classify_pyc is _CLASSIFY
        and _external._validate_hash_pyc is _VALIDATE_HASH
        and _external._validate_timestamp_pyc is _VALIDATE_TIME
        and _external._code_to_hash_pyc is _TO_HASH_PYC
        and _external._code_to_timestamp_pyc is _TO_TIME_PYC
        and _external._io is _IO
        and _IO.open_code is _OPEN_CODE
        and _external._os is _OS
        and _external._imp is _IMP
        and _external.marshal is _MARSHAL
        and _external._bootstrap is _BOOTSTRAP
        and _BOOTSTRAP._call_with_frames_removed is _CALL
        and builtins.compile is _compile
        and len(loader.__dict__) == 2  # noqa: PLR2004 -- `name` and `path`
        and _same(_OTHER_STEPS)
    ):
        return None
    return _name_of_replaced_step(loader, kind)


def _name_of_replaced_step(loader: "Any", kind: "Any") -> str:  # noqa: C901, PLR0911, PLR0912 -- one test per step
    """Return the name of the step that differs; `kind` is the loader's class."""
    for name in (*METHODS, "compile"):
        if name in loader.__dict__:
            return name
    for name, method in METHODS.items():
        if getattr(SourceFileLoader, name, None) is not method:
            return name
    for name in ("source_to_code", "get_data", "set_data", "_cache_bytecode", "get_filename"):
        if getattr(kind, name) is not METHODS[name]:
            return name
    for name, function in FUNCTIONS.items():
        if getattr(_external, name, None) is not function:
            return name
    for function, code in _OTHER_STEPS:
        if function.__code__ is not code:
            return str(function.__name__)
    if kind.__getattribute__ is not _GET_ATTRIBUTE:
        return "__getattribute__"
    if builtins.compile is not _compile or "compile" in _GLOBALS:
        return "compile"
    if (_SOURCE_TO_CODE.__kwdefaults__ or {}) != _DEFAULTS:
        return "source_to_code"
    return "open_code" if _IO.open_code is not _OPEN_CODE else "_call_with_frames_removed"


def replaced_search_step() -> bool:
    """Return whether a tool has replaced a function by which CPython's `FileFinder` makes specs."""
    return (
        _external.spec_from_file_location is not _SPEC_FROM_FILE
        or getattr(FileFinder, "_get_spec", None) is not _GET_SPEC
    )


def _same(steps: "tuple[tuple[Any, Any], ...]") -> bool:
    """Return whether each function still has its original code object."""
    for function, code in steps:
        if function.__code__ is not code:
            return False
    return "compile" not in _GLOBALS and (_SOURCE_TO_CODE.__kwdefaults__ or {}) == _DEFAULTS


def wrap_imports(wrappers: "Callable[[Any, Any], tuple[Any, Any]]") -> None:
    """Replace importlib's functions that find a spec and load a module by the functions that `wrappers` returns.

    `wrappers` is called with the originals. Every import of a module that is not loaded yet calls both, whatever its
    loader is. Like importlib's own frames, those of the wrappers are omitted from tracebacks. Without importlib's
    private functions, nothing is replaced.
    """
    bootstrap: Any = sys.modules.get("_frozen_importlib")
    find, load = getattr(bootstrap, "_find_spec", None), getattr(bootstrap, "_load_unlocked", None)
    if find is not None and load is not None:
        bootstrap._find_spec, bootstrap._load_unlocked = map(hidden_from_tracebacks, wrappers(find, load))


_loading: set[int] = set()  # threads within `standard_module`


def standard_module(name: str) -> "Any":
    """Return a C extension module of the standard library, or None if it does not exist.

    The file is searched for in the interpreter's own directories, never on `sys.path`. The module is not stored in
    `sys.modules`, so that a program sees the same modules after a miss and after a hit.

    Under `-X dev` CPython looks up the codec for the module's name, which imports `encodings.ascii`. Where that is a
    miss, which needs an extension module itself, there is none for it: see `loads_extension`.
    """
    if name in _BUILTIN_NAMES:
        return builtin_module(name)
    thread = system.get_ident()
    if thread in _loading:
        return sys.modules.get(name)
    _loading.add(thread)
    try:
        return _load_extension(name)
    finally:
        _loading.discard(thread)


def loads_extension() -> bool:
    """Return whether this thread is within `standard_module`."""
    return system.get_ident() in _loading


def _load_extension(name: str) -> "Any":
    for folder in _EXTENSION_FOLDERS:
        for suffix in EXTENSION_SUFFIXES:
            path = f"{folder}/{name}{suffix}"
            spec = ModuleSpec(name, ExtensionFileLoader(name, path), origin=path)
            loaded_already = sys.modules.get(name)
            try:
                module = system.create_dynamic(spec)
                system.exec_dynamic(module)
            # No such file, a module that subinterpreters cannot load, or no codec for its name.
            except (ImportError, LookupError) as error:
                if is_foreign(error):
                    raise
                continue
            if loaded_already is not module and sys.modules.get(name) is module:
                # Single-phase initialization (before PEP 489) stores it.
                if loaded_already is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = loaded_already
            return module
    return sys.modules.get(name)


def new_digest(prefix: bytes, size: int) -> "Any":
    """Return a BLAKE2b hash object with digests of `size` bytes, already fed with `prefix`.

    It comes from `_blake2`, because `hashlib` would load OpenSSL as well. Raises ImportError if neither can be loaded,
    or if this interpreter must not call it.
    """
    if (3, 12) <= sys.version_info < (3, 12, 4) and not _thread.daemon_threads_allowed():  # type: ignore[attr-defined]
        # A subinterpreter with an allocator of its own, which then would own the names of the function's parameters:
        # the process would abort when the main interpreter frees them.
        raise ImportError("before Python 3.12.4 a subinterpreter must not use BLAKE2 (gh-119213)")
    module = standard_module("_blake2")
    if module is None:
        try:
            import hashlib as module
        except OSError as error:
            if error.errno is None:  # of a signal handler
                raise
            raise ImportError(f"hashlib cannot be loaded: {error.strerror}") from None
    return module.blake2b(prefix, digest_size=size)


def new_spec(name: str, loader: object, path: str, folders: "list[str] | None" = None) -> "ModuleSpec":
    """Return a spec with a location; `folders`, if it is a package's, are its `__path__`.

    To set `has_location` would call `bool`, which a program may have replaced.
    """
    spec: Any = ModuleSpec(name, loader, origin=path)  # type: ignore[arg-type]
    spec._set_fileattr = True
    spec.submodule_search_locations = folders
    return spec  # type: ignore[no-any-return]


def is_initializing(module: "Any") -> bool:
    """Return whether an import statement has started to load this module and has not finished executing its body."""
    return getattr(getattr(module, "__spec__", None), "_initializing", False) is True


def interpreter_flags() -> list[str]:
    """Return the command-line options of this interpreter, for a child process of a command, as `multiprocessing` does."""
    import subprocess

    return [*subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined]


def environment_names(environ: "Any") -> "list[str]":
    """Return the names in `os.environ`, whose `__iter__` would look up `list` in `builtins`, where it may be patched."""
    names = getattr(environ, "_data", environ)
    return [name if type(name) is str else name.decode("utf-8", "replace") for name in names]
