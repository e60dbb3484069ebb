"""A read-only tree without bytecode: CPython compiles everything at every start, this project at the first only.

    cpython    any start: the second is like the first
    first      this project, with an empty cache outside the tree
    second     this project, with the cache that the first start left; it must compile nothing

The tree is mounted read-only (or, for another user than root, without any write permission on its directories).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from .applications import Application
from .conditions import emptied, read_only
from .counts import WARM
from .environment import Environment, Tree
from .measure import Measurement, measure

DEFAULT = ("sympy",)


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts in a read-only tree against CPython's."""
    plain, checked = environment.plain, environment.default
    first, second = partial(_first, checked), partial(read_only, checked.path)
    cases = {
        case: [
            plain.variant("cpython", application.code, condition=partial(read_only, plain.path)),
            checked.variant("first", application.code, condition=first),
            checked.variant("second", application.code, condition=second, claim=WARM),
        ]
        for case, application in applications.items()
    }
    return measure(cases, rounds, "cpython")


@contextmanager
def _first(tree: Tree) -> Iterator[None]:
    with read_only(tree.path), emptied(tree.cache):
        yield
