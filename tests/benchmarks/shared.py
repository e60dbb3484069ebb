"""The shared layout: entries are named by the content of their source, not by its path.

cpython    a warm start: bytecode in each package's `__pycache__`, as compileall leaves it shared     this project, a
warm start: every module from a shared entry, the standard library's too new, cpython    the first start in a new
environment: into `__pycache__`, removed before new, shared     this project, the first start in a second environment at
another path; it compiles nothing
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from .applications import Application
from .conditions import swept
from .counts import WARM, Claim
from .environment import Environment
from .measure import Measurement, Record, means, measure, ratios, sample, spread

# Like WARM, but the cache is not filled first, to show that every module is in it.
COMPILES_NOTHING = Claim(WARM.text, WARM.holds)

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time warm starts, and first starts in a new environment, against CPython's."""
    one, two = environment.sharing()
    plain = environment.plain
    cases = {}
    for case, application in applications.items():
        sample(
            one.variant("shared", application.code)
        )  # fills the cache, to which the second environment has never written
        cases[case] = [
            environment.compiled.variant("cpython", application.code, claim=WARM),
            one.variant("shared", application.code, claim=WARM),
            plain.variant("new, cpython", application.code, condition=partial(swept, plain.purelib)),
            two.variant("new, shared", application.code, claim=COMPILES_NOTHING),
        ]
    timed = measure(cases, rounds, "cpython")
    new: list[Record] = []
    for case, series in timed.samples.items():
        found = sorted(ratios(series, "new, shared", "new, cpython"))
        new.append({"case": case, "new, shared/new, cpython": found[len(found) // 2], "iqr": spread(found)})
    heading = f"geometric means over {', '.join(cases)}"
    tables = {**timed.tables, "first starts in a new environment": new, heading: means(timed.samples, ["cpython"])}
    return Measurement(tables, timed.samples)
