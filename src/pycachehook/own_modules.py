"""Loading of the modules that a cache miss needs, without the program's import system.

The first miss happens in the middle of a program's import. An ordinary import statement would search the program's
`sys.path`, where files of the same name may lie, call the program's finders, and go through this package's own hook.
Therefore these modules come from the start-up image, or from their files beside this one. The modules that they import
are the ones that were loaded at the start, even if the program has since removed them from `sys.modules`.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from ._compat import (
    SourceFileLoader,
    acquire_import_lock,
    is_initializing,
    new_spec,
    release_import_lock,
    set_filename,
)
from .events import Miss
from .pyc import CHECK_SOURCE, HASH_BASED, check_source, compare, timestamp_stamp
from .pyc import load as load_pyc
from .system import BUILTINS, READ_FLAGS, is_foreign, read_file, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

PACKAGE = __name__.rpartition(".")[0]
FOLDER = (__spec__.origin or "").rpartition("\\" if system.windows else "/")[0]  # not `__file__`, see `OwnModule`

# Marshalled code of modules, by name relative to the package, as (path of the source, bytes). Set by the start-up file.
IMAGE_PARTS: "dict[str, tuple[str, bytes]]" = {}

_COPY = object()  # marks the specs of modules that `load` made for this copy of the package
_loaded: "dict[str, ModuleType]" = {}  # by full name
_LAZY_IMPORTS = hasattr(sys, "set_lazy_imports")  # PEP 810: none may be resolved during a program's import
_unfinished: "set[str]" = set()  # full names of modules whose bodies are running


class OwnModule(type(sys)):  # type: ignore[misc]
    """A module whose `__file__` is not in its globals, where tracers look at it: `python -m trace --ignore-dir`.

    That ignores every module with the name, without the package's, of one that it has seen in an ignored directory.
    Without a file, functions of this package do not make it ignore a program's `store.py` or `__init__.py`.
    """

    @property
    def __file__(self) -> "str | None":
        """The path of the source."""
        return self.__spec__.origin  # type: ignore[no-any-return]


def remember() -> None:
    """Record the modules of this package that are loaded now, for the imports of modules that are loaded later.

    Lazy imports (PEP 810) in them are resolved, which loads more modules, so that none is resolved during an import.
    """
    count = 0
    while count != len(sys.modules):
        count = len(sys.modules)
        for name, module in list(sys.modules.items()):
            ours = (name == PACKAGE or name.startswith(f"{PACKAGE}.")) and not _is_of_another_copy(module)
            if ours and name not in _loaded and not is_initializing(module):
                _loaded[name] = module
                vars(module).pop("__file__", None)
                module.__class__ = OwnModule
                if _LAZY_IMPORTS:
                    _resolve_lazy_imports(module)


def _resolve_lazy_imports(module: "ModuleType") -> None:
    for name in list(vars(module)):
        getattr(module, name)


def _is_of_another_copy(module: object) -> bool:
    """Return whether `load` made `module` for a copy of this package that is no longer in `sys.modules`."""
    state = getattr(getattr(module, "__spec__", None), "loader_state", None)
    return state is not None and state is not _COPY


def loaded(name: str) -> "Any":
    """Return the module `name`, relative to this package, or None if it has not been loaded."""
    return _loaded.get(f"{PACKAGE}.{name}")


def load(name: str) -> "ModuleType | None":
    """Return the module `name`, relative to this package, and load it if necessary; None if that fails."""
    try:
        return require(name)  # type: ignore[no-any-return]
    except Exception as error:  # the package has been removed meanwhile, or is being loaded by this thread
        if is_foreign(error):
            raise
        return None


def require(name: str) -> "Any":
    """Return the module `name`, relative to this package, and load it if necessary; raises the exceptions of loading it."""
    full = f"{PACKAGE}.{name}"
    module = _loaded.get(full)
    if module is not None and full not in _unfinished:
        return module
    if PACKAGE not in _loaded:
        remember()
    try:
        acquire_import_lock()  # so that no thread uses a module that another is still executing
        module = _loaded.get(full) or _loaded_by_import(full)
        if full in _unfinished:
            raise ImportError(f"{full} is being loaded", name=full)
        return _make(full) if module is None else module
    finally:
        release_import_lock()


def _loaded_by_import(full: str) -> "ModuleType | None":
    """Return a module of this copy of the package that an import statement has loaded since, and remember it."""
    module = sys.modules.get(full)
    if module is None or sys.modules.get(PACKAGE) is not _loaded.get(PACKAGE):
        return None
    if _is_of_another_copy(module) or is_initializing(module):
        return None
    _loaded[full] = module
    if _LAZY_IMPORTS:
        _unfinished.add(full)  # an import that resolves one calls `require` again, and must not use the module yet
        try:
            _resolve_lazy_imports(module)
        except BaseException:
            del _loaded[full]
            raise
        finally:
            _unfinished.discard(full)
    return module


def _make(full: str) -> "ModuleType":
    parent, _, tail = full.rpartition(".")
    below = full[len(PACKAGE) + 1 :]
    if parent not in _loaded:
        _loaded[parent] = _new_package(parent)
    path, code = _code_of(below)
    module = OwnModule(full)
    _prepare(module, full, path, parent)
    try:
        _loaded[full] = module
        _unfinished.add(full)
        exec(code, module.__dict__)
    except BaseException:
        _loaded.pop(full, None)
        raise
    finally:
        _unfinished.discard(full)
    setattr(_loaded[parent], tail, module)
    sys.modules.setdefault(full, module)
    return module


def _new_package(name: str) -> "ModuleType":
    """Return a package module equal to the one that its `__init__.py`, which holds only a docstring, would make."""
    folder = f"{FOLDER}/{name[len(PACKAGE) + 1 :].replace('.', '/')}"
    module = OwnModule(name)
    _prepare(module, name, f"{folder}/__init__.py", name, [folder])
    module.__path__ = module.__spec__.submodule_search_locations
    return sys.modules.setdefault(name, module)


def _prepare(module: "Any", name: str, path: str, package: str, folders: "list[str] | None" = None) -> None:
    loader = SourceFileLoader(name, path)
    spec = new_spec(name, loader, path, folders)
    spec.loader_state = _COPY
    module.__spec__, module.__loader__, module.__package__ = spec, loader, package
    module.__builtins__ = {**BUILTINS, "__import__": _import, "__lazy_import__": _import}


def _import(name: str, importer: "Any" = None, _locals: object = None, names: "Any" = (), level: int = 0) -> "Any":
    """Replace `__import__` in the modules that are loaded here: it imports from this package and `sys.modules` only."""
    if name == "sys":
        return sys
    if level:  # relative to the module with the globals `importer`
        package = importer["__package__"].rsplit(".", level - 1)[0]
        name = f"{package}.{name}" if name else package
    if level or (name == PACKAGE or name.startswith(f"{PACKAGE}.")):
        module = _loaded.get(name)
        if module is None:
            module = require(name[len(PACKAGE) + 1 :])
        for attribute in names or ():
            below = f"{name}.{attribute}"
            if below in _loaded or (not hasattr(module, attribute) and hasattr(module, "__path__")):
                setattr(module, attribute, require(below[len(PACKAGE) + 1 :]))
        return module if names else _loaded[PACKAGE]
    return BUILTINS["__import__"](name, {}, {}, names, 0)


def _code_of(name: str) -> "tuple[str, CodeType]":
    part = IMAGE_PARTS.get(name)
    if part is not None:
        return part[0], set_filename(system.loads(part[1]), part[0])  # the environment may have been moved since
    path = f"{FOLDER}/{name.replace('.', '/')}.py"
    try:
        source = read_file(path, READ_FLAGS)[0]
    except OSError as error:
        importer: Any = type(_loaded[PACKAGE].__loader__)
        if importer.__module__ != "zipimport" or is_foreign(error):
            raise
        # This package is in a zip file, such as a zipapp.
        return path, importer(path.rpartition("/")[0]).get_code(f"{PACKAGE}.{name}")
    try:
        return path, _bytecode_of(path, source)
    except (Miss, OSError) as error:
        if is_foreign(error):
            raise
    return path, BUILTINS["compile"](source, path, "exec", dont_inherit=True)


def _bytecode_of(path: str, source: bytes) -> "CodeType":
    """Return the code from the source's own `__pycache__`; raises Miss, or OSError."""
    folder, _, name = path.rpartition("/")
    level = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
    pyc = f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}{level}.pyc"
    data = read_file(pyc, READ_FLAGS)[0]
    flags, stamp, check, code = load_pyc(data, path)
    if not flags & HASH_BASED:
        status = system.stat(path)
        compare(stamp, timestamp_stamp(status.st_mtime, status.st_size))
    elif flags & CHECK_SOURCE:
        check_source(path, stamp, check, source)
    return code
