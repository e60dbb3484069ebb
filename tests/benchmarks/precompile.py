"""Filling a cache ahead of time: all of an environment's `site-packages`, by as many processes as there are processors.

    compileall    CPython's own, hash-based (`checked-hash`), below PYTHONPYCACHEPREFIX
    first         ours, into an empty cache
    second        ours again: nothing is left to be compiled

The applications are not started here; they are what the environment contains.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial

from .applications import Application
from .conditions import emptied
from .environment import Environment
from .measure import Measurement, Variant, measure

DEFAULT = ("sympy", "sqlalchemy", "django", "boto3", "pandas")

COMPILEALL = """
import compileall, py_compile
mode = py_compile.PycInvalidationMode.CHECKED_HASH
compileall.compile_dir({folder!r}, quiet=2, workers={workers}, invalidation_mode=mode)
"""
OURS = """
from pycachehook.cli.main import main
main(["precompile", "--jobs", "{workers}", "--cache-dir", {cache!r}, {folder!r}])
"""


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time both kinds of filling against compileall."""
    plain, ours = environment.plain, environment.default
    filled = environment.caches / "precompiled"
    workers = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    stock = COMPILEALL.format(folder=str(plain.purelib), workers=workers)

    def fill(name: str, cache: str, **settings: object) -> Variant:
        code = OURS.format(folder=str(plain.purelib), workers=workers, cache=cache)
        return ours.variant(name, code, **settings)  # type: ignore[arg-type]

    fresh = environment.caches / "fresh"
    variants = [
        environment.prefix.variant("compileall", stock, condition=partial(emptied, environment.prefix.cache)),
        fill("first", str(fresh), condition=partial(emptied, fresh)),
        fill("second", str(filled)),
    ]
    return measure({"+".join(applications): variants}, rounds, "compileall")
