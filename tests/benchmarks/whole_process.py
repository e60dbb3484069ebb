"""Whole processes, from start to end, which is the time a user waits, the interpreter's exit included.

Three measurements: entries with `checked-hash`, an `unchecked-hash` archive, and a `checked-hash` archive. Each has
these variants:

    cpython    bytecode in each package's `__pycache__`, as compileall leaves it
    default    this project, with `gc = "default"`
    pause      this project, with `gc = "pause"`
    freeze     this project, with `gc = "freeze"`
    exit       this project, with `gc = "pause"`, and `os._exit` after the imports: the minimum for any exit

A second table has the times from the start of the process to the end of the imports, measured in the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .activation import output
from .applications import Application
from .counts import WARM
from .environment import Environment
from .measure import Measurement, Record, Sample, Series, Variant, means, measure, median_ms

EXIT = "\nimport os; os._exit(0)"
_CPU = "\nimport time; print(time.process_time())"


@dataclass(frozen=True)
class WholeProcess:
    """One of the measurements: of these keys of `ARCHIVED`, with the collector unchanged, paused, and frozen."""

    heading: str
    default: str
    pause: str
    freeze: str
    DEFAULT: tuple[str, ...] = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")

    def run(self, environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
        """Time whole processes against CPython's, and then the imports alone."""
        cases = {case: self._variants(environment, case, each) for case, each in applications.items()}
        timed = measure(cases, rounds, "cpython")
        imports = {case: _imports(variants[:-1], rounds) for case, variants in cases.items()}
        rows: list[Record] = [
            {"case": case, "variant": name, "cpu ms": median_ms(series, name, "cpu")}
            for case, series in imports.items()
            for name in series
        ]
        over = f"geometric means over {', '.join(cases)}"
        tables = {
            **timed.tables,
            f"{self.heading}: whole processes, {over}": means(timed.samples, ["cpython"]),
            "start-up and imports alone": rows,
            f"{self.heading}: start-up and imports alone, {over}": means(imports, ["cpython"]),
        }
        return Measurement(tables, {**timed.samples, **{f"{case}, imports": each for case, each in imports.items()}})

    def _variants(self, environment: Environment, case: str, application: Application) -> list[Variant]:
        trees = environment.archived(case, application, self.default, self.pause, self.freeze)
        variants = {"cpython": environment.compiled, "default": trees[self.default], "pause": trees[self.pause]}
        made = [
            tree.variant(name, application.code, claim=WARM)
            for name, tree in {**variants, "freeze": trees[self.freeze]}.items()
        ]
        # It writes no counters at its end, so it is counted like a standard interpreter.
        return [*made, replace(trees[self.pause].variant("exit", application.code + EXIT), hooked=False)]


def _imports(variants: list[Variant], rounds: int) -> Series:
    """Return the processor times at the end of the imports; a process does not know its wall time."""
    series: Series = {variant.name: [] for variant in variants}
    for number in range(rounds + 1):
        for variant in variants[:: -1 if number % 2 else 1]:
            program = replace(variant, code=variant.code + _CPU)
            seconds = float(output(program, program.code).split()[-1])
            if number:  # the first warms up
                series[variant.name].append(Sample(seconds, seconds))
    return series


WholeProcess.__doc__ = __doc__  # which the command prints
ENTRIES = WholeProcess("checked-hash entries", "store", "store, paused", "store, frozen")
UNCHECKED = WholeProcess("unchecked-hash archive", "unchecked", "paused", "frozen")
CHECKED = WholeProcess("checked-hash archive", "checked", "checked, paused", "checked, frozen")
