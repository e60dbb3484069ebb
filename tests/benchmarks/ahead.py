"""Cold starts with `compile_ahead`: helper processes compile the modules that imported modules name.

alone      this project, with an empty cache ahead      the same, with `compile_ahead = 1`; the processor time includes
the helper's

No `__pycache__` is read, so the standard library's modules are compiled as well. Linux only: this process adopts the
helpers as its own children, to measure their processor time.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from .applications import Application
from .conditions import emptied
from .environment import Environment
from .measure import Measurement, Sample, Skipped, Variant, means, measure, sample

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")
_ADOPT = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time cold starts with a helper against cold starts without."""
    if not hasattr(os, "posix_spawn") or _adopt(1):
        raise Skipped("the processor time of helpers is known on Linux alone")
    try:
        cases = {case: _variants(environment, each.code) for case, each in applications.items()}
        timed = measure(cases, rounds, "alone", take=_with_helpers)
    finally:
        _adopt(0)
    over = f"geometric means over {', '.join(cases)}"
    return Measurement({**timed.tables, over: means(timed.samples, ["alone"])}, timed.samples)


def _adopt(wish: int) -> int:
    """Make orphaned descendants children of this process, or stop doing so; return 0 for success."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return -1 if prctl is None else int(prctl(_ADOPT, wish, 0, 0, 0))


def _variants(environment: Environment, code: str) -> list[Variant]:
    tree = environment.checked  # with `in_tree = "ignore"`
    alone = tree.variant("alone", code, condition=partial(_emptied, tree.cache))
    return [alone, replace(alone, name="ahead", environment={**alone.environment, "PYCACHEHOOK_COMPILE_AHEAD": "1"})]


@contextmanager
def _emptied(cache: Path) -> Iterator[None]:
    """Empty the cache as `emptied` does, and put it back when the helpers, which outlive the program, have ended."""
    with emptied(cache):
        yield
        with suppress(ChildProcessError):
            while True:
                os.wait()


def _with_helpers(variant: Variant) -> Sample:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = sample(variant)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Sample(taken.wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
