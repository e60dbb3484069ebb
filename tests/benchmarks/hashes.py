"""The price of the second hash of each source, which the seal of an entry records in addition to PEP 552's hash.

    source hash   `_imp.source_hash` of every source that the program imports, as CPython computes it for a hash-based pyc
    second hash   this project's second hash of the same sources, computed in addition

Both are computed in one process that has read the sources before, one after the other, for each round. The least time
of all rounds is reported, because nothing but other processes makes a computation of a few milliseconds slower.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from .activation import output
from .applications import Application
from .environment import Environment
from .measure import MILLISECONDS, Measurement, Record, Sample, Series

DEFAULT = ("sympy",)

_HASH = """
import json, sys, time
from pycachehook._compat import source_hash
from pycachehook.pyc import second_hash
specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
paths = sorted({{spec.origin for spec in specs if spec is not None and str(spec.origin).endswith(".py")}})
sources = []
for path in paths:
    if "site-packages" in path and "pycachehook" not in path:
        with open(path, "rb") as file:
            sources.append(file.read())
times = []
for _ in range({rounds}):
    began = time.perf_counter()
    for source in sources:
        source_hash(source)
    between = time.perf_counter()
    for source in sources:
        second_hash(source)
    times.append((between - began, time.perf_counter() - between))
print(json.dumps([len(sources), sum(map(len, sources)), times]))
"""


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time both hashes of the sources of each program."""
    rows: list[Record] = []
    samples: dict[str, Series] = {}
    for case, application in applications.items():
        variant = environment.default.variant("default", "")
        said = output(variant, application.code + _HASH.format(rounds=rounds + 1))
        count, size, times = json.loads(said.splitlines()[-1])
        series: Series = {
            "source hash": [Sample(first, first) for first, _ in times[1:]],  # the first round warms up
            "second hash": [Sample(second, second) for _, second in times[1:]],
        }
        samples[case] = series
        row: Record = {"case": case, "sources": count, "megabytes": size / 1e6}
        row |= {f"{name} ms": min(each.wall for each in values) * MILLISECONDS for name, values in series.items()}
        rows.append(row)
    return Measurement({"hashes of all sources of a start, in one process": rows}, samples)
