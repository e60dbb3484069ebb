"""Recorded starts: whether the times add up, and agree with `-X importtime`.

The first table compares the wall time of the process, measured from outside, with the sum of the parts of its
recording: the start of the interpreter, the own time of each import, the pauses between imports, and the exit. The
second compares the own time of each module with importtime's; modules below a millisecond are left out. All processes
have the hook and a full cache. There are two comparisons, each by medians over the rounds:

- In the same process, which is recorded under `-X importtime`: `same process` counts the modules whose two times differ
  by at most a tenth. Outermost imports are left out, because the recorder writes its file within them.
- In separate processes: `recording` counts the modules whose time in a recording differs by at most a tenth from
  importtime's, and `importtime` those whose time differs by at most a tenth if importtime is run again. No recording
  can agree better with importtime than importtime with itself.

`-X importtime` knows only import statements: what `importlib.import_module` imports, and the parent packages of a
statement `import a.b`, are in the own time of the import that caused them, and are added to it here as well. The hook
prepares itself at the first import of a source, which importtime adds to that module; here it is one of the standard
library's. The cyclic garbage collector is off: its collections take milliseconds, and any change in the number of
objects, also by a recorder, has them happen in other modules. The same is true of the growth of the interpreter's table
of interned strings, which can take tens of milliseconds once in a start, and cannot be turned off.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

from pycachehook.commands import trace
from pycachehook.commands.trace import Import, Process

from .applications import Application
from .environment import Environment
from .measure import Measurement, Priority, Record, Variant, clean_environment

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3")
_LEAST_US = 1000.0  # own time of a module that is compared
_FIRST = "colorsys"  # a small module that no application imports
_BEFORE = f"import gc; gc.disable()\nimport {_FIRST}\n"
_TOLERANCE = 0.1
_LINE = re.compile(r"import time: +(\d+) \| +(\d+) \| +(\S+)")
_NANOSECONDS = 1000  # in a microsecond


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Compare recordings with the wall time, and with `-X importtime`."""
    sums: list[Record] = []
    agreement: list[Record] = []
    worst: list[Record] = []
    for case, application in applications.items():
        variant = environment.default.variant("default", _BEFORE + application.code)
        _importtime(variant)  # fills the cache
        walls, parts, ours, theirs, again, both = [], [], [], [], [], []
        for _ in range(rounds):
            wall, process, began = _recorded(variant)
            theirs.append(_importtime(variant))
            again.append(_importtime(variant))
            both.append(dict(_in_one_process(variant)))
            walls.append(wall)
            parts.append(sum(_parts(process, began, began + wall)))
            ours.append(dict(_as_importtime(process, set(theirs[-1]))))
        errors = [abs(part / wall - 1) for part, wall in zip(parts, walls, strict=True)]
        sums.append({"case": case, "wall ms": statistics.median(walls) / 1000, "largest error": max(errors)})
        rows = sorted(_compared(case, ours, theirs, again), key=lambda row: -abs(float(row["ratio"]) - 1))
        inside = [statistics.median(several) for several in _by_name(both).values()]
        agreement.append(
            {
                "case": case,
                "modules": len(rows),
                "recording": sum(_agrees(row["ratio"]) for row in rows),
                "importtime": sum(_agrees(row["again"]) for row in rows),
                "ratio of sums": _sums(rows),
                "in one process": len(inside),
                "same process": sum(map(_agrees, inside)),
            }
        )
        worst += rows[:3]
    tables = {
        "sum of the parts, and the wall time": sums,
        "modules whose own times agree with importtime's within 10 %": agreement,
        "the largest differences": worst,
    }
    return Measurement(tables, {})


def _recorded(variant: Variant) -> tuple[float, Process, float]:
    """Return the wall time of a recorded start, its recording, and when it began, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        before = Priority.before_exec()
        began, clock = time.time_ns(), time.perf_counter_ns()
        subprocess.run(
            _command(variant), env=_environment(variant, folder), cwd=variant.cwd, check=True, preexec_fn=before
        )
        wall = time.perf_counter_ns() - clock
        (process,) = trace.read(folder)
    return wall / _NANOSECONDS, process, began / _NANOSECONDS


def _importtime(variant: Variant, folder: str = "") -> dict[str, float]:
    """Return the own time of each module by `-X importtime`, in microseconds."""
    done = subprocess.run(
        _command(variant, "-X", "importtime"),
        env=_environment(variant, folder),
        cwd=variant.cwd,
        check=True,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=Priority.before_exec(),
    )
    return {name: float(own) for own, _, name in _LINE.findall(done.stderr)}


def _command(variant: Variant, *options: str) -> list[str]:
    return [os.fspath(variant.python), *options, "-c", variant.code]


def _environment(variant: Variant, folder: str = "") -> dict[str, str]:
    return clean_environment(**variant.environment, **({"PYCACHEHOOK_TRACE": folder} if folder else {}))


def _parts(process: Process, began: float, ended: float) -> Iterator[float]:
    """Yield the parts of the process's time: own times, and the times before, between and after outermost imports."""
    end = process.exit or ended
    at = process.recorded
    yield at - began
    main = process.main_thread
    for one in process.outermost:
        if one.thread == main:
            yield max(0.0, one.began - at)
            at = one.ended
    yield from (one.own for one in process.imports if one.thread == main)
    yield max(0.0, end - at)
    yield ended - end


def _as_importtime(process: Process, known: set[str]) -> Iterator[tuple[str, float]]:
    """Yield names and own times, with those that importtime does not list added to the import that caused them."""
    main = process.main_thread
    pending: list[tuple[Sequence[Import], Import | None]] = [
        ([one for one in process.outermost if one.thread == main], None)
    ]
    extra: dict[int, float] = {}
    order: list[Import] = []
    while pending:
        siblings, outer = pending.pop()
        for index, one in enumerate(siblings):
            if one.name in known:
                order.append(one)
                target: Import | None = one
            else:
                later = (each for each in siblings[index + 1 :] if each.name.startswith(f"{one.name}."))
                target = next(later, outer)
                if target is not None:
                    extra[id(target)] = extra.get(id(target), 0.0) + one.own
            pending.append((one.children, target))
    for one in order:
        yield one.name, one.own + extra.get(id(one), 0.0)


def _in_one_process(variant: Variant) -> Iterator[tuple[str, float]]:
    """Yield names and ratios of own times, of a recorded start under `-X importtime`."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = _importtime(variant, folder)
        (process,) = trace.read(folder)
    ours = dict(_as_importtime(process, set(theirs)))
    outermost = {one.name for one in process.outermost}
    for name in ours.keys() - outermost:
        if theirs[name] >= _LEAST_US:
            yield name, ours[name] / theirs[name]


def _by_name(runs: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Return the values of the names that are in most of the runs."""
    found: dict[str, list[float]] = {}
    for each in runs:
        for name, value in each.items():
            found.setdefault(name, []).append(value)
    return {name: values for name, values in found.items() if len(values) > len(runs) / 2}


def _agrees(ratio: str | float) -> bool:
    return abs(float(ratio) - 1) <= _TOLERANCE


def _compared(case: str, *runs: Sequence[dict[str, float]]) -> Iterator[Record]:
    """Yield the medians of each module in recordings, importtime, and importtime again."""
    names = set.intersection(*(set(each) for several in runs for each in several)) - {_FIRST}
    for name in sorted(names):
        own, stock, again = (statistics.median(each[name] for each in several) for several in runs)
        if stock >= _LEAST_US:
            yield {
                "case": case,
                "module": name,
                "own ms": own / 1000,
                "importtime ms": stock / 1000,
                "ratio": own / stock,
                "again": again / stock,
            }


def _sums(rows: Sequence[Record]) -> float:
    return sum(float(row["own ms"]) for row in rows) / sum(float(row["importtime ms"]) for row in rows)
