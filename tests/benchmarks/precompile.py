"""Filling a cache in advance: all of an environment's `site-packages`, with one process per processor.

    compileall    CPython's own, hash-based (`checked-hash`), below PYTHONPYCACHEPREFIX
    first         this project, into an empty cache
    second        this project again, when nothing is left to be compiled

The applications are not started; they are the contents of the environment.
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
    """Time both runs against compileall."""
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
