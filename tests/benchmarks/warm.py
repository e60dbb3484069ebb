"""Warm starts: every module has valid bytecode, so only the cost of finding it is measured.

    cpython      bytecode in each package's `__pycache__`, as compileall leaves it
    prefix       bytecode below PYTHONPYCACHEPREFIX, the standard library's included
    checked      this project, activated: every module from its own entry, its source read and hashed
    unchecked    this project, activated: every module from its own entry, sources not read
    default      this project, activated, with default options: the standard library from its own `__pycache__`

Each has its own environment, and only the first has bytecode in its tree, so no variant uses another's. Caches are
filled before. Times include this project's own start-up. A variant that compiles anything is an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from .applications import Application
from .counts import WARM
from .environment import Environment
from .measure import Measurement, means, measure

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time warm starts against CPython's default."""
    trees = {
        "cpython": environment.compiled,
        "prefix": environment.prefix,
        "checked": environment.checked,
        "unchecked": environment.unchecked,
        "default": environment.default,
    }
    cases = {
        case: [tree.variant(name, application.code, claim=WARM) for name, tree in trees.items()]
        for case, application in applications.items()
    }
    timed = measure(cases, rounds, "cpython")
    heading = f"geometric means over {', '.join(cases)}"
    return Measurement({**timed.tables, heading: means(timed.samples, ["cpython"])}, timed.samples)
