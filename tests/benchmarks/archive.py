"""Starts from an archive of the whole environment, the standard library included.

    cpython      bytecode in each package's `__pycache__`, as compileall leaves it
    checked      this project, a `checked-hash` archive: every source is read and hashed
    unchecked    this project, an `unchecked-hash` archive: no source and no directory in it is read
    paused       the same with `gc = "pause"`
    checked, paused    `checked` with `gc = "pause"`
    entries      this project, entries with `unchecked-hash`, with `gc = "pause"` and without an archive

All files are in the page cache. Each variant has its own environment, and an archive in which the modules of a recorded
start come first. System calls are those of the program beyond those of a bare start of the same interpreter (`pass`),
as strace counts them, of all processes and all kinds except `memory`: those of the allocator and the interpreter's
stack (brk, mmap, munmap), whose number varies by hundreds with the depth of the stack. `floor` are the system calls of
the same program with all modules already in memory, made by module bodies and extension modules. The rest, `per module`
from a source, is the cost of importing them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from .activation import output, system_calls
from .applications import Application
from .counts import WARM
from .environment import Environment
from .floor import floor
from .measure import Measurement, Record, Variant, means, measure

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")

VARIANTS = ("checked", "unchecked", "paused", "checked, paused", "entries")
MEMORY = ("brk", "mmap", "munmap")

_SHOW = """
import sys
specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
print(sum(str(spec.origin).endswith(".py") for spec in specs if spec))
"""


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts from archives against CPython's default."""
    cases = {}
    for case, application in applications.items():
        trees = {"cpython": environment.compiled, **environment.archived(case, application, *VARIANTS)}
        cases[case] = [tree.variant(name, application.code, claim=WARM) for name, tree in trees.items()]
    timed = measure(cases, rounds, "cpython")
    heading = f"geometric means over {', '.join(cases)}"
    calls = [_calls(environment, case, each, cases[case]) for case, each in applications.items()]
    rows = [row for rows in calls for row in rows]
    tables = {**timed.tables, heading: means(timed.samples, ["cpython"]), "system calls": rows}
    return Measurement(tables, timed.samples)


def _calls(
    environment: Environment, case: str, application: Application, variants: Sequence[Variant]
) -> Iterator[Record]:
    """Yield the number of system calls that the program makes beyond a bare start, and the part of the imports."""
    stock = next(each for each in variants if each.name == "cpython")
    try:
        before = floor(environment, case, application)
        least, _ = _beyond(replace(stock, code=before + application.code), replace(stock, code=before))
        for variant in variants:
            if variant.name in ("cpython", "checked", "unchecked"):
                modules = int(output(variant, variant.code + _SHOW))
                calls, memory = _beyond(variant, replace(variant, code="pass"))
                row: Record = {"case": case, "variant": variant.name, "modules": modules, "memory": memory}
                yield row | {"system calls": calls, "floor": least, "per module": (calls - least) / modules}
    except (FileNotFoundError, subprocess.CalledProcessError):
        yield {"case": case, "variant": "", "modules": "no strace"}


def _beyond(variant: Variant, bare: Variant) -> tuple[int, int]:
    """Return how many more system calls one variant makes than the other; those for memory come second."""
    calls = system_calls(variant)
    calls.subtract(system_calls(bare))
    memory = sum(calls.pop(name, 0) for name in MEMORY)
    return calls.total(), memory
