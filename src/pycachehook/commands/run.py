"""Running a program under the hook, in the way in which `python` itself would run it."""

import builtins
import importlib.machinery
import importlib.util
import linecache
import marshal
import os
import stat
import sys
import types
import warnings
from collections.abc import Callable
from functools import partial
from importlib.machinery import ExtensionFileLoader, PathFinder, SourceFileLoader, SourcelessFileLoader
from typing import Any, BinaryIO

from pycachehook import runtime
from pycachehook._compat import replaced_step
from pycachehook.commands import lazy_imports
from pycachehook.errors import ConfigError, PycacheHookError
from pycachehook.events import IN_TREE
from pycachehook.hook import loader as loader_for
from pycachehook.loader import CachingLoader, Policies, Policy
from pycachehook.pyc import HEADER_SIZE

Program = Callable[[], None]


def prepare_script(script: str, arguments: list[str]) -> Program:
    """Return a function that runs as the main program what `python SCRIPT` runs.

    That is a source, a pyc, the `__main__.py` of a directory or zip archive, the content of a pipe or device, or
    standard input for "-". Raises ConfigError for something that cannot be read, PycacheHookError for a directory
    without a `__main__.py`. The function raises the exceptions of the program.
    """
    sys.argv[:] = [script, *arguments]
    if script == "-":
        return _prepare_stdin()
    path = _absolute(script)
    spec = PathFinder.find_spec("__main__", [path])
    if spec is not None:
        _set_path(path)
        return _prepare_spec(spec, "__main__")
    if os.path.isdir(path):
        raise PycacheHookError(f"There is no __main__.py in {script}.")
    try:
        file = open(path, "rb")  # noqa: SIM115 -- read when the program runs
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        raise ConfigError(f"There is no script {script}.") from None
    except OSError as error:
        raise ConfigError(f"The script {script} cannot be read: {error.strerror}.") from None
    _set_path(_directory_of_script(path))
    loader: Any
    get_code: Callable[[], types.CodeType | None]
    if path.endswith(".pyc") or (regular and file.peek(2)[:2] == importlib.util.MAGIC_NUMBER[:2]):
        loader = SourcelessFileLoader("__main__", path)
        get_code = partial(_read_pyc, file)
    elif regular:
        file.close()
        loader = loader_for("__main__", path)
        get_code = partial(_compile_script, path)
    else:
        loader = SourceFileLoader("__main__", path)
        get_code = partial(_compile_stream, file, path)
    return partial(_execute, get_code, __file__=path, __loader__=loader, __spec__=None, __package__=None)


def prepare_module(name: str, arguments: list[str]) -> Program:
    """Return a function that runs a module, or a package's `__main__`, as `python -m` does.

    Raises PycacheHookError if there is none. Importing the parent packages may raise any exception.
    """
    if name.startswith("."):
        raise PycacheHookError(f"{name} is a relative name: give the module's full name.")
    sys.argv[:] = ["-m", *arguments]
    _set_path(_current_directory())
    spec = _find_module_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
        spec = _find_module_spec(name)
    if spec is None:
        raise PycacheHookError(f"There is no module {name}.")
    if spec.origin:
        sys.argv[0] = spec.origin
    package = name.rpartition(".")[0]
    if package and name in sys.modules:  # the warning of runpy
        text = f"{name!r} found in sys.modules after import of package {package!r}, but prior to execution of {name!r}"
        warnings.warn(f"{text}; this may result in unpredictable behaviour", RuntimeWarning, stacklevel=2)
    return _prepare_spec(spec, name)


def prepare_code(code: str, arguments: list[str]) -> Program:
    """Return a function that runs a string, as `python -c` does; it cannot be cached."""
    sys.argv[:] = ["-c", *arguments]
    _set_path("")
    compiled = partial(_compile_string, code)
    return partial(_execute, compiled, __loader__=importlib.machinery.BuiltinImporter, __spec__=None, __package__=None)


def _prepare_stdin() -> Program:
    if sys.stdin is not None and sys.stdin.isatty():
        from code import interact  # before a directory of the program is on `sys.path`

        _set_path("")
        return partial(_interact, interact)
    _set_path("")
    try:
        file = open(0, "rb", closefd=False)  # noqa: SIM115 -- read when the program runs
    except OSError:  # closed, which means an empty program
        file = open(os.devnull, "rb")  # noqa: SIM115
    get_code = partial(_compile_stream, file, "<stdin>")
    main = {"__file__": "<stdin>", "__loader__": importlib.machinery.BuiltinImporter}
    return partial(_execute, get_code, **main, __spec__=None, __package__=None)


def _absolute(path: str) -> str:
    """Return the absolute path as `_Py_abspath` does: not normalized, unchanged without a current directory."""
    current = _current_directory()
    return path if current is None else current if path == "." else os.path.join(current, path)


def _current_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _directory_of_script(path: str) -> str:
    """Return what CPython puts into `sys.path[0]` (`_PyPathConfig_ComputeSysPath0`); a pipe has no real path."""
    try:
        path = os.path.join(os.path.dirname(path), os.readlink(path)) if os.path.islink(path) else path
        path = os.path.realpath(path, strict=True)
    except OSError:
        pass
    return os.path.dirname(path)


def _read_pyc(file: BinaryIO) -> types.CodeType:
    """Return the code in a pyc, which is not compared with any source; raises what `python FILE.pyc` raises."""
    with file:
        data = file.read()
    if data[:4] != importlib.util.MAGIC_NUMBER:
        raise RuntimeError("Bad magic number in .pyc file")
    code = marshal.loads(memoryview(data)[HEADER_SIZE:])
    if not isinstance(code, types.CodeType):
        raise RuntimeError("Bad code object in .pyc file")  # noqa: TRY004 -- as CPython does
    return code


def _compile_script(path: str) -> types.CodeType | None:
    """Compile a script as `python SCRIPT` does, or take its code from an entry where that makes no difference.

    Python shows the warnings of a script at every start, so an entry is used only if its seal says that compiling emits
    none. A pyc in the script's `__pycache__` is ignored, and so are tools that have replaced a step of the loader.
    """
    current_runtime = runtime.installed()
    policy = None if current_runtime is None else current_runtime.policies.of(path)
    policies = Policies()
    loader = CachingLoader("__main__", path, policies)
    if policy is None or replaced_step(loader) is not None:
        with open(path, "rb") as file:
            return _compile_stream(file, path)
    places = tuple(place for place in policy.places if place.name != IN_TREE)
    policies.default = Policy(places, policy.store, policy.stats)
    filters = sys.warnoptions
    sys.warnoptions = [*filters, "default"]  # if any filter is given, an entry whose source emits warnings is a miss
    try:
        return loader.get_code("__main__")
    finally:
        sys.warnoptions = filters


def _compile_stream(file: BinaryIO, name: str) -> types.CodeType:
    """Compile the content of a file or pipe, without a cache."""
    with file:
        return compile(file.read(), name, "exec", dont_inherit=True)


def _interact(interact: Callable[..., None]) -> None:
    """Run the interactive interpreter, as `python -` does on a terminal."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __loader__=importlib.machinery.BuiltinImporter, __spec__=None)
    sys.modules["__main__"] = main
    if hasattr(sys, "__interactivehook__"):
        sys.__interactivehook__()
    banner = f"Python {sys.version} on {sys.platform}"
    interact(banner, local=main.__dict__, exitmsg="")


def _dedent(text: str) -> str:
    """Return the lines without their common leading white space, and blank lines empty, as `textwrap.dedent` does."""
    lines = ["" if line.isspace() else line for line in text.split("\n")]
    margin = os.path.commonprefix([line for line in lines if line])  # noqa: RUF071 -- compares characters, not paths
    margin = margin[: len(margin) - len(margin.lstrip(" \t"))]
    return "\n".join(line.removeprefix(margin) for line in lines)


def _compile_string(text: str) -> types.CodeType:
    """Compile as `python -c` does, which from Python 3.13 on shows source lines in tracebacks."""
    if sys.version_info >= (3, 14):
        text = _dedent(text)
    code = compile(text, "<string>", "exec", dont_inherit=True)
    register = getattr(linecache, "_register_code", None)
    if sys.version_info >= (3, 14) and register is not None:
        register(code, text, "<string>")
    elif sys.version_info >= (3, 13):
        linecache.cache["<string>"] = (len(text), None, text.splitlines(keepends=True), "<string>")
    return code


def _find_module_spec(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
    except ValueError:  # for example `__main__`, which has no spec
        return None


def _prepare_spec(spec: importlib.machinery.ModuleSpec, name: str) -> Program:
    loader: Any = spec.loader
    if type(loader) is SourceFileLoader:
        loader = spec.loader = loader_for(spec.name, loader.path)
    if not hasattr(loader, "get_code") or spec.origin == "built-in" or isinstance(loader, ExtensionFileLoader):
        raise PycacheHookError(f"{name} has no Python code that can be run ({spec.origin}).")
    get_code = partial(loader.get_code, spec.name)
    return partial(_execute, get_code, __file__=spec.origin, __loader__=loader, __spec__=spec, __package__=spec.parent)


def _execute(get_code: Callable[[], Any], **attributes: object) -> None:
    """Run the code as a new `__main__` module; the traceback of an exception does not show this package's frames."""
    main = types.ModuleType("__main__")
    main.__dict__.update(attributes, __builtins__=builtins)
    if sys.version_info < (3, 14):  # computed on demand from 3.14 on
        main.__annotations__ = {}
    if sys.version_info < (3, 15) and "__file__" in attributes:
        main.__dict__["__cached__"] = getattr(attributes["__spec__"], "cached", None)
    sys.modules["__main__"] = main
    try:
        exec(get_code(), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        _hide_own_frames(error)
        raise


def _hide_own_frames(error: BaseException) -> None:
    """Make the interpreter print this exception's traceback from the program's first frame on."""
    own_files = (__file__, "<frozen importlib.")  # the loader's frames have the latter
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(own_files):
        trace = trace.tb_next
    report = sys.excepthook

    def excepthook(kind: type[BaseException], value: BaseException, traceback: types.TracebackType | None) -> None:
        if value is error:
            traceback = sys.last_traceback = trace
            value = value.with_traceback(trace)
        report(kind, value, traceback)

    sys.excepthook = excepthook


def _set_path(first: str | None) -> None:
    """Replace the `sys.path` entry that Python has inserted for this command by the program's, except under `-P`.

    None means no entry. `python -m` has no entry either if the current directory has been removed. Imports are as lazy
    as the program has them from now on.
    """
    lazy_imports.restore()
    if sys.flags.safe_path:
        return
    started_by_name = getattr(sys.modules.get("__main__"), "__spec__", None) is not None
    has_no_entry = started_by_name and _current_directory() is None
    sys.path[: 0 if has_no_entry else 1] = [] if first is None else [first]
