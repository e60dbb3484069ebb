"""Warm starts that are recorded, against starts that are not.

plain      ours, warm
traced     the same, with PYCACHEHOOK_TRACE
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from .applications import Application
from .conditions import emptied
from .counts import WARM
from .environment import Environment
from .measure import Measurement, Variant, means, measure

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time recorded starts against others."""
    cases = {case: _variants(environment, each.code) for case, each in applications.items()}
    timed = measure(cases, rounds, "plain")
    over = f"geometric means over {', '.join(cases)}"
    return Measurement({**timed.tables, over: means(timed.samples, ["plain"])}, timed.samples)


def _variants(environment: Environment, code: str) -> list[Variant]:
    folder = environment.caches / "traces"
    plain = environment.default.variant("plain", code, claim=WARM, condition=partial(emptied, folder))

    return [plain, replace(plain, name="traced", environment={**plain.environment, "PYCACHEHOOK_TRACE": str(folder)})]
