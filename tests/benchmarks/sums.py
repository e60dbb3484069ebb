"""Recorded starts: whether the times add up, and agree with `-X importtime`.

The first table compares the wall time of the process, measured from outside, with the sum of the parts of its
recording: the start of the interpreter, the own time of each import, the pauses between imports, and the exit. The
second compares the own time of each module, as the median over the rounds, with importtime's median. Modules below a
millisecond are left out. `-X importtime` knows only import statements: what `importlib.import_module` imports, and the
parent packages of a statement `import a.b`, are in the own time of the import that caused them, and are added to it
here as well. The cyclic garbage collector is off: its collections take milliseconds, and any change in the number of
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
from .measure import Measurement, Record, Variant, clean_environment

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3")
_LEAST_US = 1000.0  # own time of a module that is compared
_NO_COLLECTIONS = "import gc; gc.disable()\n"
_LINE = re.compile(r"import time: +(\d+) \| +(\d+) \| +(\S+)")
_NANOSECONDS = 1000  # in a microsecond


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Compare recordings with the wall time, and with `-X importtime`."""
    sums: list[Record] = []
    agreement: list[Record] = []
    worst: list[Record] = []
    for case, application in applications.items():
        variant = environment.default.variant("default", _NO_COLLECTIONS + application.code)
        _importtime(variant)  # fills the cache
        walls, parts, ours, theirs = [], [], [], []
        for _ in range(rounds):
            wall, process, began = _recorded(variant)
            theirs.append(_importtime(variant))
            walls.append(wall)
            parts.append(sum(_parts(process, began, began + wall)))
            ours.append(dict(_as_importtime(process, set(theirs[-1]))))
        errors = [abs(part / wall - 1) for part, wall in zip(parts, walls, strict=True)]
        sums.append({"case": case, "wall ms": statistics.median(walls) / 1000, "largest error": max(errors)})
        rows = sorted(_compared(case, ours, theirs), key=lambda row: -abs(float(row["ratio"]) - 1))
        within = sum(abs(float(row["ratio"]) - 1) <= 0.1 for row in rows)
        agreement.append({"case": case, "modules": len(rows), "within 10 %": within, "ratio of sums": _sums(rows)})
        worst += rows[:3]
    tables = {
        "sum of the parts, and the wall time": sums,
        "own times, and those of importtime": agreement,
        "the largest differences": worst,
    }
    return Measurement(tables, {})


def _recorded(variant: Variant) -> tuple[float, Process, float]:
    """Return the wall time of a recorded start, its recording, and when it began, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        began, clock = time.time_ns(), time.perf_counter_ns()
        subprocess.run(_command(variant), env=_environment(variant, folder), cwd=variant.cwd, check=True)
        wall = time.perf_counter_ns() - clock
        (process,) = trace.read(folder)
    return wall / _NANOSECONDS, process, began / _NANOSECONDS


def _importtime(variant: Variant) -> dict[str, float]:
    """Return the own time of each module by `-X importtime`, in microseconds."""
    command = _command(variant, "-X", "importtime")
    done = subprocess.run(
        command, env=_environment(variant), cwd=variant.cwd, check=True, stderr=subprocess.PIPE, text=True
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


def _compared(case: str, ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> Iterator[Record]:
    names = set.intersection(*map(set, ours), *map(set, theirs))
    for name in sorted(names):
        own = statistics.median(each[name] for each in ours)
        stock = statistics.median(each[name] for each in theirs)
        if stock >= _LEAST_US:
            yield {
                "case": case,
                "module": name,
                "own ms": own / 1000,
                "importtime ms": stock / 1000,
                "ratio": own / stock,
            }


def _sums(rows: Sequence[Record]) -> float:
    return sum(float(row["own ms"]) for row in rows) / sum(float(row["importtime ms"]) for row in rows)
