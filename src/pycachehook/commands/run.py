"""Running a program under the hook, as `python` itself would run it."""

import atexit
import builtins
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import types
import warnings
from collections.abc import Callable
from functools import partial
from importlib.machinery import ExtensionFileLoader, PathFinder, SourceFileLoader, SourcelessFileLoader
from typing import Any

from pycachehook.errors import ConfigError, PycacheHookError
from pycachehook.hook import loader as loader_for
from pycachehook.terminal import visible

Program = Callable[[], None]


def prepare_script(script: str, arguments: list[str]) -> Program:
    """Return a function that runs a file, or the `__main__.py` of a directory or zip archive, as the main program.

    Raises ConfigError if there is none. What the function raises is the program's.
    """
    if not os.path.exists(script):
        raise ConfigError(f"There is no script {script}.")
    path = os.path.join(os.getcwd(), script)
    spec = PathFinder.find_spec("__main__", [path])
    if spec is None and not os.path.isfile(path):
        raise ConfigError(f"There is no __main__.py in {script}.")
    sys.argv[:] = [script, *arguments]
    if spec is not None:
        _set_path(path)
        return _prepare_spec(spec, "__main__")
    _set_path(os.path.dirname(os.path.realpath(path)))
    loader = SourcelessFileLoader("__main__", path) if path.endswith(".pyc") else loader_for("__main__", path)
    get_code = partial(loader.get_code, "__main__")
    return partial(_execute, get_code, __file__=path, __loader__=loader, __spec__=None, __package__=None)


def prepare_module(name: str, arguments: list[str]) -> Program:
    """Return a function that runs a module, or a package's `__main__`, as `python -m` does.

    Raises PycacheHookError if there is none; importing the packages above it raises whatever they raise.
    """
    if name.startswith("."):
        raise PycacheHookError(f"{name} is a relative name: give a module's whole name.")
    sys.argv[:] = ["-m", *arguments]
    _set_path(os.getcwd())
    spec = _find(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
        spec = _find(name)
    if spec is None:
        raise PycacheHookError(f"There is no module {name}.")
    if spec.origin:
        sys.argv[0] = spec.origin
    package = name.rpartition(".")[0]
    if package and name in sys.modules:  # runpy's warning, word for word
        text = f"{name!r} found in sys.modules after import of package {package!r}, but prior to execution of {name!r}"
        warnings.warn(f"{text}; this may result in unpredictable behaviour", RuntimeWarning, stacklevel=2)
    return _prepare_spec(spec, name)


def prepare_code(code: str, arguments: list[str]) -> Program:
    """Return a function that runs a string, as `python -c` does; there is nothing to cache in it."""
    sys.argv[:] = ["-c", *arguments]
    _set_path("")
    compiled = partial(_compile_string, code)
    return partial(_execute, compiled, __loader__=importlib.machinery.BuiltinImporter, __spec__=None, __package__=None)


def record_at_exit(path: str) -> None:
    """Write the sources of all that is imported to the file `path` when this process exits, one a line.

    First come those of modules that were there before, then the others in the order in which their bodies began to run.
    """
    began: dict[str, None] = {}

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "exec":  # which is what runs a module's body, too
            began.setdefault(getattr(arguments[0], "co_filename", ""))

    sys.addaudithook(note)  # PEP 578
    atexit.register(_record, os.path.abspath(path), began)


def _record(path: str, began: dict[str, None]) -> None:
    origins = [getattr(_spec_of(module), "origin", None) for module in list(sys.modules.values())]
    sources = dict.fromkeys(origin for origin in origins if isinstance(origin, str) and origin.endswith(".py"))
    ordered = [
        *(source for source in sources if source not in began),
        *(source for source in began if source in sources),
    ]
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{source}\n" for source in ordered)
    except OSError as error:
        warning = f"pycachehook: warning: the profile {visible(path)} cannot be written: {error.strerror}."
        print(warning, file=sys.stderr)  # noqa: T201 -- at the end of the program that runs, without `cli`


def _spec_of(module: object) -> object:
    """Return the module's spec, or None, without a question to the module itself: a lazy one would run its body now."""
    try:
        return object.__getattribute__(module, "__spec__")
    except AttributeError:
        return None


def _compile_string(text: str) -> types.CodeType:
    """Compile as `python -c` does, which from Python 3.13 on shows the source's lines in tracebacks."""
    code = compile(text, "<string>", "exec", dont_inherit=True)
    register = getattr(linecache, "_register_code", None)
    if sys.version_info >= (3, 14) and register is not None:
        register(code, text, "<string>")
    elif sys.version_info >= (3, 13):
        linecache.cache["<string>"] = (len(text), None, text.splitlines(keepends=True), "<string>")
    return code


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
    except ValueError:  # `__main__` and its like have no spec
        return None


def _prepare_spec(spec: importlib.machinery.ModuleSpec, name: str) -> Program:
    loader: Any = spec.loader
    if type(loader) is SourceFileLoader:
        loader = spec.loader = loader_for(spec.name, loader.path)
    if not hasattr(loader, "get_code") or spec.origin == "built-in" or isinstance(loader, ExtensionFileLoader):
        raise PycacheHookError(f"{name} holds no Python code that could be run ({spec.origin}).")
    get_code = partial(loader.get_code, spec.name)
    return partial(_execute, get_code, __file__=spec.origin, __loader__=loader, __spec__=spec, __package__=spec.parent)


def _execute(get_code: Callable[[], Any], **attributes: object) -> None:
    """Run the code as a new `__main__` module; an exception in it goes on without our frames in its traceback."""
    main = types.ModuleType("__main__")
    main.__dict__.update(attributes, __builtins__=builtins)
    if sys.version_info < (3, 14):  # from then on they are computed when they are asked for
        main.__annotations__ = {}
    if sys.version_info < (3, 15) and "__file__" in attributes:
        main.__dict__["__cached__"] = getattr(attributes["__spec__"], "cached", None)
    sys.modules["__main__"] = main
    try:
        exec(get_code(), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        _hide_our_frames(error)
        raise


def _hide_our_frames(error: BaseException) -> None:
    """Have the interpreter print this exception's traceback from the program's first line on."""
    ours = (__file__, "<frozen importlib.")  # as which the loader's own frames pass
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    report = sys.excepthook

    def excepthook(kind: type[BaseException], value: BaseException, found: types.TracebackType | None) -> None:
        if value is error:
            found = sys.last_traceback = trace
            value = value.with_traceback(trace)
        report(kind, value, found)

    sys.excepthook = excepthook


def _set_path(first: str) -> None:
    """Put the program's directory where Python put ours, unless it was told to put none there (`-P`)."""
    if not sys.flags.safe_path:
        sys.path[0] = first
