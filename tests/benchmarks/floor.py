"""Starts from an archive compared with the minimum: the same imports, of code that is in memory already.

    cpython    CPython's default, as in `archive`
    floor      all modules' marshalled code in a dictionary, and a finder that uses only this
    archive    this project, an `unchecked-hash` archive; and a `checked-hash` one
    floor, paused and archive, paused      the same without cyclic garbage collection (`gc = "pause"`)
    archive, checked, paused               a `checked-hash` archive with `gc = "pause"`

Times are those of the imports alone, taken in the process; the floor's dictionary is filled before. This project's
times include its own start-up and the opening of the archive.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping

from .activation import output
from .applications import Application
from .environment import Environment
from .measure import Measurement, Record, Sample, Series, Variant, means, median_ms, ratios, spread

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")

_TIMED = """
import time
began = time.perf_counter()
exec({code!r})
print(time.perf_counter() - began)
"""
_COLLECT = """
import marshal, sys
codes = {{}}
for name, module in list(sys.modules.items()):
    spec = getattr(module, "__spec__", None)
    if spec is not None and str(spec.origin).endswith(".py") and hasattr(spec.loader, "get_code"):
        codes[name] = marshal.dumps(spec.loader.get_code(spec.name)), spec.origin, spec.submodule_search_locations is not None
with open({out!r}, "wb") as file:
    marshal.dump(codes, file)
"""
_FLOOR = """
import marshal, sys
with open({out!r}, "rb") as file:
    codes = marshal.load(file)
Spec = type(sys.__spec__)

class Loader:
    def __init__(self, data):
        self.data = data
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec(marshal.loads(self.data), module.__dict__)

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        found = codes.get(name)
        if found is None:
            return None
        data, origin, is_package = found
        spec = Spec(name, Loader(data), origin=origin, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        return spec

sys.meta_path.insert(0, Finder)
"""
PAUSE = "import gc; gc.disable()\n"


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time imports from archives against the floor."""
    rows: list[Record] = []
    samples: dict[str, Series] = {}
    for case, application in applications.items():
        print(f"  {case}", file=sys.stderr)
        archived = environment.archived(case, application, "checked", "checked, paused", "unchecked", "paused")
        stock, timed = environment.compiled.variant("cpython", ""), _TIMED.format(code=application.code)
        preamble = floor(environment, case, application)
        programs = {
            "cpython": (stock, timed),
            "floor": (stock, preamble + timed),
            "archive": (archived["unchecked"].variant("archive", ""), timed),
            "archive, checked": (archived["checked"].variant("archive, checked", ""), timed),
            "floor, paused": (stock, preamble + PAUSE + timed),
            "archive, paused": (archived["paused"].variant("archive", ""), timed),
            "archive, checked, paused": (archived["checked, paused"].variant("archive", ""), timed),
        }
        samples[case] = _interleave(programs, rounds)
        rows += [_row(case, samples[case], name) for name in programs]
    heading = f"geometric means over {', '.join(applications)}"
    tables = {
        "median times of the imports, and medians of ratios": rows,
        heading: means(samples, ["floor", "floor, paused", "cpython"]),
    }
    return Measurement(tables, samples)


def floor(environment: Environment, case: str, application: Application) -> str:
    """Return code that puts all modules of an application into memory, for a standard interpreter."""
    out = str(environment.caches / f"{case}.floor")
    environment.caches.mkdir(exist_ok=True)
    output(environment.compiled.variant("cpython", ""), application.code + _COLLECT.format(out=out))
    return _FLOOR.format(out=out)


def _interleave(programs: Mapping[str, tuple[Variant, str]], rounds: int) -> Series:
    series: Series = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name in list(programs)[:: -1 if number % 2 else 1]:
            seconds = float(output(*programs[name]).split()[-1])
            if number:  # the first warms up
                series[name].append(Sample(seconds, seconds))
    return series


def _row(case: str, series: Series, name: str) -> Record:
    row: Record = {"case": case, "variant": name, "wall ms": median_ms(series, name)}
    for label, baseline in {"its floor": f"floor{', paused' * name.endswith('paused')}", "cpython": "cpython"}.items():
        found = ratios(series, name, baseline)
        row |= {f"wall/{label}": statistics.median(found), f"iqr/{label}": spread(found)}
    return row
