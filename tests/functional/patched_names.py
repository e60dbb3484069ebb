"""Imports a module for each name that an import could use, in forked children in which that name is replaced.

    python patched_names.py TREE OUT TOGETHER [KEYWORDS]

TREE is a directory with two modules for each name, OUT the file for the outcomes, a Python dict; TOGETHER is how many
names one child tries, each with a module of its own. With KEYWORDS, a Python dict, the hook is installed first; else it is whatever the interpreter starts with. Nothing but
modules that are built in, frozen or written in C is loaded before the children, so that in an environment where
pycachehook is enabled each child's import is the first one.
"""

import sys
from _signal import alarm  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLAIN = repr(("imported", 0))  # the module itself, and no call
SECONDS = 5  # for an import, before a child that hangs is ended

MODULES = (
    "_codecs",
    "_imp",
    "_io",
    "_signal",
    "_thread",
    "_warnings",
    "_weakref",
    "atexit",
    "builtins",
    "codecs",
    "fcntl",
    "gc",
    "genericpath",
    "io",
    "itertools",
    "marshal",
    "mmap",
    "os",
    "posix",
    "posixpath",
    "sys",
    "time",
)
# The fork, the report and the child's end need these; `_bootstrap` looks at `__import__` before any import.
KEPT = ("os.fork", "posix.fork")


def names() -> "list[tuple[Any, str]]":
    """Return each replaceable name as (module, attribute): functions, classes and other values, but no dunder names."""
    found = []
    for module in MODULES:
        try:
            __import__(module)
        except ImportError:
            continue
        for name in sorted(vars(sys.modules[module])):
            constant = type(vars(sys.modules[module])[name]) is int
            if not constant and not name.startswith("__") and f"{module}.{name}" not in KEPT:
                found.append((sys.modules[module], name))
    found += [(sys.modules["builtins"], name) for name in ("__import__", "__build_class__")]
    return found


def attempt(module: "Any", name: str, number: int) -> "tuple[str, int]":
    """Import one module while a name is replaced, and return what came of it, and how often the replacement was called."""
    calls: list[None] = []

    def replacement(*_arguments: object, **_keywords: object) -> int:
        calls.append(None)
        return 3

    found = getattr(module, name)
    is_function = callable(found)
    import_module, count = __import__, calls.__len__  # before they are replaced
    problem: BaseException | None = None
    outcome: object = None
    setattr(module, name, replacement if is_function else 3)
    try:
        outcome = import_module(f"mocked{number}").value
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the outcome
        problem = error
    called = count()
    setattr(module, name, found)
    if problem is not None:
        return type(problem).__name__, called
    return "imported" if outcome == number else f"value {outcome}", called


def in_child(wanted: "list[tuple[Any, str]]", numbers: "list[int]") -> "dict[str, str]":
    """Make these attempts, one after the other, in one forked child, and return their outcomes as far as it lived."""
    posix: Any = sys.modules["posix"]
    fork, pipe, read, write, close, wait, leave = (
        getattr(posix, name) for name in ("fork", "pipe", "read", "write", "close", "waitpid", "_exit")
    )
    reading, writing = pipe()
    child = fork()
    if not child:
        try:
            for (module, name), number in zip(wanted, numbers, strict=True):
                alarm(SECONDS)
                write(writing, f"{attempt(module, name, number)}\n".encode())
        finally:
            leave(0)
    close(writing)
    data = b""
    while part := read(reading, 1 << 16):
        data += part
    close(reading)
    wait(child, 0)
    labels = [f"{module.__name__}.{name}" for module, name in wanted]
    return dict(zip(labels, data.decode().splitlines(), strict=False))


def main(tree: str, out: str, together: str, keywords: "str | None" = None) -> None:
    """Fork a child for so many names, and write their outcomes; what is not plain is tried again in a child of its own."""
    sys.path.insert(0, tree)
    if keywords is not None:
        import pycachehook

        pycachehook.install(**eval(keywords))
    wanted, step = names(), int(together)
    outcomes: dict[str, str] = {}
    for first in range(0, len(wanted), step):
        numbers = [*range(first, min(first + step, len(wanted)))]
        outcomes |= in_child(wanted[first : first + step], numbers)
    for number, (module, name) in enumerate(wanted):
        label = f"{module.__name__}.{name}"
        if outcomes.get(label) != PLAIN:
            alone = in_child([(module, name)], [number + len(wanted)])
            outcomes[label] = alone.get(label, "the process ended")
    with open(out, "w", encoding="utf-8") as file:
        file.write(repr(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
