"""Starts from an archive of the whole environment, the standard library included.

    cpython      bytecode in each package's `__pycache__`, as compileall leaves it
    checked      ours, a `checked-hash` archive: every source is read and hashed
    unchecked    ours, an `unchecked-hash` archive: no source and no directory in it is looked at
    paused       the same with `pause_gc`
    entries      ours, entries under `unchecked-hash`, with `pause_gc` and without an archive

All files are in the page cache. Each has an environment to itself. System calls are those of the program beyond those
of a bare start of the same interpreter (`pass`), as strace counts them, all processes' and all kinds'; `modules` are
those from sources; `native` the system calls that loading its extension modules alone takes, in the same interpreter.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .activation import output, system_calls
from .applications import Application
from .counts import WARM
from .environment import Environment
from .measure import Measurement, Record, Variant, means, measure

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")

_SHOW = """
import sys
specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
origins = [str(spec.origin) for spec in specs if spec]
print(sum(each.endswith(".py") for each in origins), *(each for each in origins if ".so" in each))
"""
_LOAD_NATIVE = """
import _imp, sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
for path in {paths!r}:
    name = path.rpartition("/")[2].partition(".")[0]
    try:
        _imp.create_dynamic(ModuleSpec(name, ExtensionFileLoader(name, path), origin=path))
    except Exception:
        pass
"""


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts from archives against CPython's default."""
    trees = {"cpython": environment.compiled, **environment.archived()}
    cases = {
        case: [tree.variant(name, application.code, claim=WARM) for name, tree in trees.items()]
        for case, application in applications.items()
    }
    timed = measure(cases, rounds, "cpython")
    heading = f"geometric means over {', '.join(cases)}"
    calls = [_calls(case, variant) for case, variants in cases.items() for variant in (variants[0], variants[2])]
    tables = {**timed.tables, heading: means(timed.samples, ["cpython"]), "system calls": calls}
    return Measurement(tables, timed.samples)


def _calls(case: str, variant: Variant) -> Record:
    """Return how many system calls the program makes beyond a bare start, and what its extension modules alone take."""
    sources, *native = output(variant, variant.code + _SHOW).split()
    bare = replace(variant, code="pass")
    loading = replace(variant, code=_LOAD_NATIVE.format(paths=native))
    try:
        calls = system_calls(variant) - system_calls(bare)
        extensions = system_calls(loading) - system_calls(replace(loading, code=_LOAD_NATIVE.format(paths=[])))
    except (FileNotFoundError, subprocess.CalledProcessError):
        return {"case": case, "variant": variant.name, "modules": int(sources), "system calls": "no strace"}
    return {
        "case": case,
        "variant": variant.name,
        "modules": int(sources),
        "system calls": calls,
        "native": extensions,
        "per module": (calls - extensions) / int(sources),
    }


def archive_of(environment: Environment) -> Path:
    """Return the path of the `unchecked-hash` archive."""
    return environment.archived()["unchecked"].cache.with_suffix(".pyca")
