"""Modules of the standard library that have valid bytecode: a start loads them without the hook."""

from .activation import *

CODE_TYPE = type((lambda: None).__code__)
# Modules that write pycs into source trees: as soon as a program imports one, the hook decides where they are written.
WRITE_BYTECODE = ("compileall", "py_compile")


def spares_library():
    """Return whether modules of the standard library do not count. This records the standard loader's steps."""
    if first_import.steps is None:
        first_import.steps = ()
        try:
            present = steps()
            if first_import.prefix is not None and are_original(present) and leaves_library():
                first_import.steps = present
        except RecursionError:
            first_import.steps = None
            raise
        except Exception as error:
            if is_foreign(error):
                raise
    return first_import.steps != ()


class LibraryLoader(SourceFileLoader):
    """Loads a module of the standard library from its own `__pycache__`, as the hook would, or else by the hook.

    Like the hook's own loader, it equals a standard loader of the same module, and pickles as one.
    """

    def __init__(self, fullname, path):
        self.name, self.path = fullname, path

    def __eq__(self, other):
        alike = type(other) is SourceFileLoader or type(other).__module__ in (__name__, "pycachehook.loader")
        return alike and self.__dict__ == other.__dict__

    __hash__ = SourceFileLoader.__hash__

    def __reduce__(self):
        return SourceFileLoader, (self.name, self.path)

    @hidden
    def get_code(self, fullname):
        """Return the module's code; raises what the standard loader raises."""
        if fullname != self.name:
            self.get_filename(fullname)  # raises ImportError
        if not first_import.done and first_import.thread != get_ident():
            try:
                if len(self.__dict__) == 2:  # noqa: PLR2004 -- `name` and `path`
                    code = library_code(self.path)
                    if code is not None:
                        return code
            except RecursionError:  # the hook needs frames, too, but gets them
                pass
            load_hook()
        finders = hook_finders()
        if not finders:
            return get_code(self, fullname)
        kind = sys.modules["pycachehook.loader"].CachingLoader
        loader = kind(self.name, self.path, finders[0].pycachehook_runtime.policies)
        loader.__dict__.update(self.__dict__)  # a tool may have replaced steps of this loader alone
        return loader.get_code(fullname)


def leaves_library():
    """Return whether, by the options, a module of the standard library is loaded from its own bytecode if it is valid.

    This is so by default; with `gc` and `compile_ahead`, the hook has something to do at each import.
    """
    defaults = {"gc": "default", "compile_ahead": 0, "rules": (), "archives": (), "open_code": "auto"}
    return (
        sys.implementation.cache_tag is not None
        and not OPEN_CODE_HOOKED
        and OPTIONS.get("in_tree") in ("installed", "all")
        and all(not OPTIONS.get(name) or OPTIONS[name] == value for name, value in defaults.items())
    )


def is_in_library(loader):
    """Return whether a loader is unmodified, and its source lies in the standard library's own directory."""
    path = loader.path
    inside = path[len(LIBRARY) :].split(SEP)
    return (
        path.startswith(LIBRARY)
        and LIBRARY != SEP
        and path[-3:] == ".py"
        and not {"site-packages", "dist-packages", ".."}.intersection(inside)
        and len(loader.__dict__) == 2  # noqa: PLR2004 -- `name` and `path`
    )


def library_code(path):
    """Return the code of the source's own timestamp pyc; None if it is not there, not valid, or not CPython's to judge.

    The conditions are CPython's, and that the pyc is not older than the source by a part of a second.
    """
    folder, _, name = path.rpartition(SEP)
    pyc = f"{folder}{SEP}__pycache__{SEP}{name[:-3]}.{sys.implementation.cache_tag}{OPT}.pyc"
    try:
        if not all(step is original for step, original in zip(steps(), first_import.steps)):  # noqa: B905
            return None
        data, written = read_with_status(pyc)
        source = stat(path)
        stamp = (int(source.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + source.st_size.to_bytes(8, "little")[:4]
        if data[:8] != PYC_MAGIC or data[8:16] != stamp or written.st_mtime_ns < source.st_mtime_ns:
            return None
        code = loads(memoryview(data)[16:])
    except RecursionError:
        raise
    except Exception as error:
        if is_foreign(error):
            raise
        return None
    if type(code) is not CODE_TYPE:
        return None
    if code.co_filename != path:
        if fix_filename is None:
            return None
        fix_filename(code, path)
    return code


def steps():
    """Return the functions and modules that the standard loader consists of at present, and the functions' code."""
    present = [getattr(SourceFileLoader, name, None) for name in METHODS]
    present += [getattr(importlib, name, None) for name in FUNCTIONS]
    present.append(getattr(bootstrap, "_call_with_frames_removed", None))
    present += [getattr(step, "__code__", None) for step in present]
    optimize = (source_to_code.__kwdefaults__ or {}).get("_optimize")
    attribute = SourceFileLoader.__getattribute__
    return [*present, attribute, bootstrap, builtins.compile, io.open_code, optimize, vars(importlib).get("compile")]


def recorded_steps():
    """Return the `steps` as recorded before the program could replace any, for `_compat`; () if there is no record."""
    if first_import is None or not first_import.steps:
        return ()
    *present, _, bootstrap, compiling, opening, optimize, _ = first_import.steps
    return (*present, bootstrap, compiling, opening, {} if optimize is None else {"_optimize": optimize})


def are_original(present):
    """Return whether the `steps` are CPython's own: another tool's `.pth` file may have run before."""
    count = len(METHODS) + len(FUNCTIONS) + 1
    for step, code in zip(present[:count], present[count:]):  # noqa: B905
        if not getattr(code, "co_filename", "").startswith("<frozen importlib") and type(step) is not Module:
            return False
    functions = (builtins.compile, io.open_code)
    return "compile" not in vars(importlib) and all(type(function) is type(len) for function in functions)
