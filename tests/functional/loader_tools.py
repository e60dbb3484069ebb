"""Tools that replace one step of the standard loader, and a program that imports with and without them.

`python loader_tools.py TREE CACHE OPTIONS` imports the modules of TREE in forked children, one for each case, and
prints the results as JSON. The source of each module says `value = 'plain'`. A tool changes this to `'tool'`, or has no
effect, as on a standard interpreter that writes no bytecode; that result is printed, too.
"""

from __future__ import annotations

import builtins
import importlib
import importlib._bootstrap as bootstrap
import importlib._bootstrap_external as external
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Patch = Callable[[object, str, Any], None]
Loader: Any = external.SourceFileLoader
Base: Any = external.SourceLoader
FileLoader: Any = external.FileLoader
Basics: Any = external._LoaderBasics  # type: ignore[attr-defined]


def changed(data: Any) -> Any:
    """Return the bytes of a source as the tool changes them."""
    return data.replace(b"'plain'", b"'tool'") if isinstance(data, bytes) else data


def compiled(self: Any, name: str) -> Any:
    """Compile a source as a `get_code` written by the tool would."""
    with open(self.path, "rb") as file:
        return compile(changed(file.read()), self.path, "exec", dont_inherit=True)


def source_to_code(where: Any) -> Callable[[Patch], None]:
    """Return a tool that replaces `source_to_code` of a class."""

    def tool(patch: Patch) -> None:
        before = where.source_to_code
        patch(where, "source_to_code", lambda self, data, path, *more: before(self, changed(data), path, *more))

    return tool


def get_data(where: Any) -> Callable[[Patch], None]:
    """Return a tool that replaces `get_data` of a class."""

    def tool(patch: Patch) -> None:
        before = where.get_data
        patch(where, "get_data", lambda self, path: changed(before(self, path)))

    return tool


def raising(where: Any, name: str, error: type[Exception]) -> Callable[[Patch], None]:
    """Return a tool that makes a step raise, so that no bytecode is used."""

    def fail(*_: object, **__: object) -> object:
        raise error("no bytecode")

    return lambda patch: patch(where, name, fail)


def passing(where: Any, name: str) -> Callable[[Patch], None]:
    """Return a tool that observes a step and changes nothing."""

    def tool(patch: Patch) -> None:
        before = getattr(where, name)

        def call(*arguments: Any, **kinds: Any) -> Any:
            return before(*arguments, **kinds)

        patch(where, name, call)

    return tool


def exec_module(where: Any) -> Callable[[Patch], None]:
    """Return a tool that changes the module after its body has run."""

    def tool(patch: Patch) -> None:
        before = where.exec_module

        def run(self: Any, module: Any) -> None:
            before(self, module)
            if getattr(module, "value", None) == "plain":
                module.value = "tool"

        patch(where, "exec_module", run)

    return tool


def compile_with(where: Any, name: str, position: int) -> Callable[[Patch], None]:
    """Return a tool that replaces the function that compiles, or its caller.

    The source is the argument at `position`.
    """

    def tool(patch: Patch) -> None:
        before = getattr(where, name, builtins.compile)

        def compile_it(*arguments: Any, **kinds: Any) -> Any:
            first, rest = arguments[:position], arguments[position:]
            return before(*first, *(changed(each) for each in rest[:1]), *rest[1:], **kinds)

        patch(where, name, compile_it)

    return tool


def get_filename(where: Any) -> Callable[[Patch], None]:
    """Return a tool that makes the loader compile another file."""

    def other(self: Any, name: str | None = None) -> str:
        folder = os.path.dirname(self.path)
        return f"{folder}/other.txt" if folder == sys.path[0] else self.path

    return lambda patch: patch(where, "get_filename", other)


def open_code(patch: Patch) -> None:
    """Replace the module whose function opens files."""
    real: Any = external._io  # type: ignore[attr-defined]
    patch(external, "_io", Opening(real))


def open_code_in_place(patch: Patch) -> None:
    """Replace the function that opens source files."""
    real: Any = external._io  # type: ignore[attr-defined]
    patch(real, "open_code", Opening(real).open_code)


class Opening:
    """The module `_io` with another `open_code`."""

    def __init__(self, real: Any) -> None:
        self._real, self._open_code = real, real.open_code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def open_code(self, path: str) -> Any:
        """Open the file, changed."""
        with self._open_code(path) as file:
            return self._real.BytesIO(changed(file.read()))


def code_in_place(patch: Patch) -> None:
    """Replace the code object of `source_to_code`; the function object stays the same."""

    def source_to_code(self: Any, data: Any, path: Any, *more: Any, _optimize: int = -1) -> Any:
        return compile(data.replace(b"'plain'", b"'tool'"), path, "exec", dont_inherit=True)

    patch(Base.source_to_code, "__code__", source_to_code.__code__)


def of_each_loader(name: str, step: Callable[..., Any]) -> Callable[[Patch], None]:
    """Return a tool whose finder, the first one, gives every loader object its own version of a step."""

    class Finder:
        active = False

        def find_spec(self, fullname: str, *_: object) -> Any:
            if self.active:
                return None
            self.active = True
            try:
                spec = importlib.util.find_spec(fullname)
            finally:
                self.active = False
            if spec is not None and isinstance(spec.loader, Loader):
                loader: Any = spec.loader
                setattr(loader, name, lambda *arguments: step(loader, *arguments))
            return spec

    return lambda patch: patch(sys, "meta_path", [Finder(), *sys.meta_path])


TOOLS: dict[str, Callable[[Patch], None]] = {
    **{f"source_to_code of {where.__name__}": source_to_code(where) for where in (Loader, Base)},
    **{f"get_data of {where.__name__}": get_data(where) for where in (Loader, FileLoader)},
    **{
        f"get_code of {where.__name__}": lambda patch, where=where: patch(where, "get_code", compiled)  # type: ignore[misc]
        for where in (Loader, Base)
    },
    **{f"exec_module of {where.__name__}": exec_module(where) for where in (Loader, Basics)},
    **{f"get_filename of {where.__name__}": get_filename(where) for where in (Loader, FileLoader)},
    "path_stats": raising(Loader, "path_stats", OSError),
    "set_data": raising(Loader, "set_data", NotImplementedError),
    "_cache_bytecode": raising(Loader, "_cache_bytecode", NotImplementedError),
    "cache_from_source": raising(external, "cache_from_source", NotImplementedError),
    **{
        f"{name}, looked on": passing(where, name)
        for where, name in (
            (Loader, "create_module"),
            (Loader, "get_code"),
            (external, "cache_from_source"),
            (external, "_compile_bytecode"),
            (external, "_classify_pyc"),
            (external, "_validate_timestamp_pyc"),
            (external, "_validate_hash_pyc"),
            (external, "_code_to_timestamp_pyc"),
            (external, "_code_to_hash_pyc"),
        )
    },
    "builtins.compile": compile_with(builtins, "compile", 0),
    "compile in importlib": compile_with(external, "compile", 0),
    "_call_with_frames_removed": compile_with(bootstrap, "_call_with_frames_removed", 1),
    "_io": open_code,
    "open_code": open_code_in_place,
    "code of source_to_code": code_in_place,
    "get_code of each loader": of_each_loader("get_code", compiled),
    "get_data of each loader": of_each_loader("get_data", lambda self, path: changed(FileLoader.get_data(self, path))),
}


@contextmanager
def in_use(tool: Callable[[Patch], None]) -> Iterator[None]:
    """Activate the replacement for the duration of a `with` block."""
    undo: list[Callable[[], None]] = []

    def patch(where: Any, name: str, value: Any) -> None:
        if name in vars(where) or not isinstance(where, type | type(sys)):
            before = getattr(where, name)
            undo.append(lambda: setattr(where, name, before))
        else:
            undo.append(lambda: delattr(where, name))
        setattr(where, name, value)

    tool(patch)
    try:
        yield
    finally:
        for each in undo:
            each()


def value(name: str) -> str:
    """Import a module and return its value."""
    return str(importlib.import_module(name).value)


class Cases:
    """The actions of each child; `hook` installs the hook, or does nothing."""

    def __init__(self, tool: Callable[[Patch], None], hook: Callable[[], Any]) -> None:
        self.tool, self.hook = tool, hook

    def plain(self) -> list[str]:
        """Import without the tool."""
        self.hook()
        return [value("first"), value("second")]

    def tool_first(self) -> list[str]:
        """Load this package after the tool is active."""
        with in_use(self.tool):
            self.hook()
            return [value("first"), value("second")]

    def hook_first(self) -> list[str]:
        """Replace the step after the hook is installed."""
        self.hook()
        with in_use(self.tool):
            return [value("first"), value("second")]

    def in_the_middle(self) -> list[str]:
        """Replace the step after one import, and restore it before another."""
        self.hook()
        found = [value("first")]
        with in_use(self.tool):
            found.append(value("second"))
        return [*found, value("third")]


def in_a_child(case: Callable[[], Any]) -> Any:
    """Return what `case` returns in a forked process, or its exception."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            result: Any = case()
        except BaseException as error:  # noqa: BLE001 -- the exception is the result
            result = repr(error)
        os.write(write, json.dumps(result).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    return json.loads(data)


class Cache:
    """The cache directory of the children."""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self.path, self.options = path, options

    def install(self) -> None:
        """Install the hook."""
        sys.dont_write_bytecode = False
        import pycachehook

        pycachehook.install(self.path, in_tree="ignore", **self.options)

    def entries(self) -> list[str]:
        """Return the names of all entries."""
        return sorted(name for _, _, names in os.walk(self.path) for name in names if name.endswith(".pyc"))

    def remove(self) -> None:
        """Remove all entries."""
        for folder, _, names in os.walk(self.path):
            for name in names:
                if name.endswith(".pyc"):
                    os.unlink(f"{folder}/{name}")

    def rows(self, tool: Callable[[Patch], None], *cases: str) -> list[list[Any]]:
        """Run these cases of a tool, each in children of its own, and return a list of the results of each."""
        stock, ours = Cases(tool, lambda: None), Cases(tool, self.install)
        rows = []
        for case in cases:
            self.remove()
            expected = in_a_child(getattr(stock, case))
            cold = in_a_child(getattr(ours, case))
            stored = [each for each in self.entries() if case != "in_the_middle"]
            plain = in_a_child(ours.plain)
            rows.append([case, expected, cold, stored, plain, in_a_child(getattr(ours, case)), in_a_child(ours.plain)])
        return rows

    def rows_with_the_package_loaded(self) -> list[list[list[Any]]]:
        """Run the cases of each tool that begin with the hook; the package is loaded once, and not in each child."""
        self.install()
        import pycachehook

        pycachehook.uninstall()
        sys.dont_write_bytecode = True
        return [self.rows(tool, "hook_first", "in_the_middle") for tool in TOOLS.values()]


def main() -> None:
    """Run all cases, as described in the module's docstring."""
    tree, cache, options, loaded = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]
    sys.path.insert(0, tree)
    sys.dont_write_bytecode = True
    for name in loaded:
        importlib.import_module(name)
    runs = Cache(cache, options)
    first = [runs.rows(tool, "tool_first") for tool in TOOLS.values()]
    rest = in_a_child(runs.rows_with_the_package_loaded)
    print(json.dumps({name: [*one, *more] for name, one, more in zip(TOOLS, first, rest, strict=True)}))


if __name__ == "__main__":
    main()
