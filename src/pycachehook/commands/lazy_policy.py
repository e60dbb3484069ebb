"""Imports that a program may do lazily (PEP 810): seen in a run in which all of them are lazy. Experimental.

In that run the interpreter imports a module when its name is first used. A module that was imported by a statement at
the top level of another one, and was not loaded until the exit, has not been used.
"""

import atexit
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pycachehook.errors import ConfigError

from .atomic_write import replacing
from .trace import NOT_FOUND, Process
from .user_file import why_not_replaced

_TITLE = "# Lazy imports for one program, proposed by `pycachehook run --trace`. Experimental."
_POLICY = '''{title}
#
# None of these modules was used in a recorded run. Import this file before anything else, from Python 3.15 on.
# Test the program with it: a module in this set that registers something when it is imported no longer does so.
import sys

LAZY = frozenset((
{names}
))


def may_be_lazy(importer, name, names):
    """Return whether an import may be lazy; see `sys.set_lazy_imports_filter`."""
    return name in LAZY or any(f"{{name}}.{{each}}" in LAZY for each in names or ())


if hasattr(sys, "set_lazy_imports_filter"):
    sys.set_lazy_imports_filter(may_be_lazy)
    sys.set_lazy_imports("all")
'''


@dataclass(frozen=True)
class Proposal:
    """Modules to import lazily, and the others.

    `names` are those that an import statement names; `saving` is the time of all modules that were then not loaded, in
    microseconds, and `modules` is their number. `unknown` is the number of modules whose first use was not seen.
    """

    names: tuple[str, ...]
    modules: int
    saving: float
    unknown: int


def check_target(path: str) -> None:
    """Raise ConfigError if this Python has no lazy imports, or if `path` exists and is no earlier policy."""
    if not hasattr(sys, "set_lazy_imports_filter"):
        raise ConfigError("--lazy needs lazy imports (PEP 810), which Python has from version 3.15 on.")
    if not path.endswith(".py"):
        raise ConfigError(f"--lazy {path} has no extension of a policy: it must end in .py.")
    why = why_not_replaced(path, lambda data: data.startswith(_TITLE.encode()), "policy")
    if why is not None:
        raise ConfigError(f"--lazy {path} {why}, and is left as it is: name a new file, or remove this one first.")


def observe(path: str) -> None:
    """Make every import of this process lazy that may be, and write what was asked for and loaded to `path` at exit."""
    asked: set[str] = set()
    set_filter: Callable[[object], None] = sys.set_lazy_imports_filter  # type: ignore[attr-defined]
    set_mode: Callable[[str], None] = sys.set_lazy_imports  # type: ignore[attr-defined]

    def note(_importer: str, name: str, names: "tuple[str, ...] | None" = None) -> bool:
        asked.add(name)
        asked.update(f"{name}.{each}" for each in names or ())
        return True

    process = os.getpid()

    def write() -> None:
        set_mode("normal")
        if os.getpid() == process:  # no forked child
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"asked": sorted(asked), "loaded": [*map(str, sys.modules)]}, file)

    json.dumps({})  # nothing is imported at exit
    atexit.register(write)
    set_filter(note)
    set_mode("all")


def propose(process: Process, observation: str) -> Proposal:
    """Return the proposal for a recorded start, and the file that `observe` wrote in another run of the program.

    Raises OSError or ValueError if there is no such file.
    """
    with open(observation, encoding="utf-8") as file:
        found: dict[str, list[str]] = json.load(file)
    asked, loaded = set(found["asked"]), set(found["loaded"])
    avoided = [one for one in process.imports if one.name not in loaded and one.verdict != NOT_FOUND]
    imported = {one.name for one in avoided}
    return Proposal(
        tuple(sorted(asked & imported)),
        len(avoided),
        sum(one.own for one in avoided),
        sum(one.name in loaded - asked for one in process.imports),
    )


def write(proposal: Proposal, path: str) -> None:
    """Write the policy as a Python source. Raises OSError."""
    names = "\n".join(f"    {name!r}," for name in proposal.names)
    with replacing(path) as file:
        file.write(_POLICY.format(title=_TITLE, names=names).encode("utf-8", "backslashreplace"))


def lines(proposal: Proposal, path: str) -> Iterator[str]:
    """Yield the proposal as text."""
    yield "lazy imports (experimental):"
    if proposal.names:
        yield (
            f"  {proposal.saving / 1000:>7.1f} ms  {path}: {proposal.modules} modules were not used until the exit, "
            f"{len(proposal.names)} of them named by import statements"
        )
    else:
        yield "  every module was used whose first use is known"
    yield (
        f"  not known for {proposal.unknown} modules, and left out: their import is in a function, a class, `try` or "
        "`with`, or is no import statement"
    )
