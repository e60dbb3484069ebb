"""Running a program under the hook, as `python` itself would run it."""

import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from importlib.machinery import PathFinder, SourceFileLoader, SourcelessFileLoader
from typing import Any

from .errors import ConfigError, PycacheHookError
from .hook import Hook


def run_script(hook: Hook, script: str, arguments: list[str]) -> None:
    """Run a file, or the `__main__.py` of a directory or zip archive, as the main program.

    Raises ConfigError if there is none, and whatever the program raises.
    """
    if not os.path.exists(script):
        raise ConfigError(f"There is no script {script}.")
    sys.argv[:] = [script, *arguments]
    path = os.path.join(os.getcwd(), script)
    if os.path.isfile(path) and PathFinder.find_spec("__main__", [path]) is None:
        _set_path(os.path.dirname(os.path.realpath(path)))
        loader: SourcelessFileLoader | SourceFileLoader
        loader = SourcelessFileLoader("__main__", path) if path.endswith(".pyc") else hook.loader("__main__", path)
        _execute(lambda: loader.get_code("__main__"), __file__=path, __loader__=loader, __spec__=None, __package__=None)
        return
    spec = PathFinder.find_spec("__main__", [path])
    if spec is None:
        raise ConfigError(f"There is no __main__.py in {script}.")
    _set_path(path)
    _execute_spec(hook, spec, "__main__")


def run_module(hook: Hook, name: str, arguments: list[str]) -> None:
    """Run a module, or a package's `__main__`, as `python -m` does.

    Raises PycacheHookError if there is none, and whatever the program raises.
    """
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
    _execute_spec(hook, spec, name)


def run_code(code: str, arguments: list[str]) -> None:
    """Run a string, as `python -c` does; there is nothing to cache in it."""
    sys.argv[:] = ["-c", *arguments]
    _set_path("")
    loader = importlib.machinery.BuiltinImporter
    _execute(
        lambda: compile(code, "<string>", "exec", dont_inherit=True), __loader__=loader, __spec__=None, __package__=None
    )


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
    except ValueError:  # `__main__` and its like have no spec
        return None


def _execute_spec(hook: Hook, spec: importlib.machinery.ModuleSpec, name: str) -> None:
    loader: Any = spec.loader
    if type(loader) is SourceFileLoader:
        loader = spec.loader = hook.loader(spec.name, loader.path)
    if not hasattr(loader, "get_code"):
        raise PycacheHookError(f"{name} holds no Python code that could be run ({spec.origin}).")
    _execute(
        lambda: loader.get_code(spec.name),
        __file__=spec.origin,
        __loader__=loader,
        __spec__=spec,
        __package__=spec.parent,
    )


def _execute(get_code: Callable[[], Any], **attributes: object) -> None:
    """Run the code as a new `__main__` module; an exception in it goes on without our frames in its traceback."""
    main = types.ModuleType("__main__")
    main.__dict__.update(attributes, __builtins__=__builtins__, __annotations__={})
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
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    report = sys.excepthook

    def excepthook(kind: type[BaseException], value: BaseException, found: types.TracebackType | None) -> None:
        if value is error:
            found = trace
            value = value.with_traceback(trace)
        report(kind, value, found)

    sys.excepthook = excepthook


def _set_path(first: str) -> None:
    """Put the program's directory where Python put ours, unless it was told to put none there (`-P`)."""
    if not sys.flags.safe_path:
        sys.path[0] = first
