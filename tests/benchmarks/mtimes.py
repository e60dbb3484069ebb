"""Starts after all sources' mtimes changed without their contents, as packaging, COPY and checkouts do.

    image       CPython, its `__pycache__` stale and the tree read-only, as in an image: every start is like this
    writable    CPython, its `__pycache__` stale, in a writable tree: the first start, which replaces the pycs
    checked     this project, which goes by the content of a source, so it must compile nothing

The mtimes are changed again before each start, including those of this project's own modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from .applications import Application
from .conditions import read_only, restamped
from .counts import WARM
from .environment import Environment, Tree
from .measure import Measurement, measure

DEFAULT = ("sympy",)


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts after a change of all mtimes against CPython's."""
    compiled, checked = environment.compiled, environment.default
    writable, ours = partial(restamped, compiled.purelib), partial(restamped, checked.purelib)
    cases = {
        case: [
            compiled.variant("image", application.code, condition=partial(_image, compiled)),
            compiled.variant("writable", application.code, condition=writable),
            checked.variant("checked", application.code, condition=ours, claim=WARM),
        ]
        for case, application in applications.items()
    }
    return measure(cases, rounds, "image", "writable")


@contextmanager
def _image(tree: Tree) -> Iterator[None]:
    with restamped(tree.purelib), read_only(tree.path):
        yield
