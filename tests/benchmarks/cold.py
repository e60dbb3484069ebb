"""Cold starts: the first start of a program, which compiles and writes everything that has no bytecode yet.

prefix     CPython, PYTHONPYCACHEPREFIX naming an empty directory; it compiles the standard library's modules too
in-tree    CPython without the prefix, into `__pycache__`, removed before; it has the standard library's bytecode
checked    this project, with an empty cache; it has the standard library's bytecode, and its own
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from .applications import Application
from .conditions import emptied, swept
from .counts import Claim
from .environment import Environment
from .measure import Measurement, Variant, measure

DEFAULT = ("sympy", "django")
BASELINES = ("prefix", "in-tree")


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time cold starts against both variants of CPython."""
    cases = {case: cold_starts(environment, each.code) for case, each in applications.items()}
    return measure(cases, rounds, *BASELINES)


def cold_starts(
    environment: Environment, code: str, processes: int = 1, *, claim: Claim | None = None
) -> list[Variant]:
    """Return the variants of the module's docstring for `processes` at once; `claim` is this project's."""
    prefix, plain, checked = environment.prefix, environment.plain, environment.default
    no_prefix, no_tree, no_cache = (
        partial(emptied, prefix.cache),
        partial(swept, plain.purelib),
        partial(emptied, checked.cache),
    )
    return [
        prefix.variant("prefix", code, condition=no_prefix, processes=processes),
        plain.variant("in-tree", code, condition=no_tree, processes=processes),
        checked.variant("checked", code, condition=no_cache, processes=processes, claim=claim),
    ]
