"""The cost of the activation files for a program that imports almost nothing.

    bare       an environment without them
    checked    the same with them, and an empty cache directory
    counted    the same, and each process appends its counters to a file at its exit (PYCACHEHOOK_STATS)

The programs are `pass`, and the import of one small module of the standard library, because a hook may postpone its
work until the first import. The environments have the same bytecode of the standard library. Beside the time, the
table has the number of modules loaded beyond a bare start, and of system calls, if `strace` is available.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .applications import Application
from .counts import WARM
from .environment import Environment
from .measure import MILLISECONDS, Measurement, Record, Series, Variant, clean_environment, measure

DEFAULT: tuple[str, ...] = ()
REPEATS = 10  # a start takes 15 ms, and the difference is a tenth of that, so more rounds are needed, and affordable
PROGRAMS = ("pass", "import colorsys")

_SHOW_MODULES = "import sys; print(*sys.modules)"


def run(environment: Environment, _applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts without and with the activation files, in ten times as many rounds."""
    cases = {code: _variants(environment, code) for code in PROGRAMS}
    timed = measure(cases, rounds * REPEATS, "bare")
    costs = [
        _cost(code, bare, other, timed.samples[code]) for code, (bare, *others) in cases.items() for other in others
    ]
    return Measurement({**timed.tables, "what activation adds": costs}, timed.samples)


def _variants(environment: Environment, code: str) -> list[Variant]:
    bare = environment.plain.variant("bare", code, claim=WARM)
    checked = environment.default.variant("checked", code, claim=WARM)
    counters = {"PYCACHEHOOK_STATS": str(environment.caches / "counters.jsonl")}
    return [bare, checked, replace(checked, name="counted", environment={**checked.environment, **counters})]


def _cost(code: str, bare: Variant, checked: Variant, samples: Series) -> Record:
    pairs = zip(samples[bare.name], samples[checked.name], strict=True)
    added = statistics.median(ours.wall - theirs.wall for theirs, ours in pairs)
    modules = _modules(checked) - _modules(bare)
    try:
        calls: int | str = system_calls(checked).total() - system_calls(bare).total()
    except (FileNotFoundError, subprocess.CalledProcessError):
        calls = "no strace"
    return {
        "case": code,
        "variant": checked.name,
        "wall ms": added * MILLISECONDS,
        "modules": len(modules),
        "system calls": calls,
        "names": " ".join(sorted(modules)),
    }


def output(variant: Variant, code: str, *tracer: str) -> str:
    """Return the output of `code` in the variant's environment, under a tracer if one is given."""
    command: list[str | Path] = [*tracer, variant.python, "-c", code]
    environment = clean_environment(**variant.environment)
    return subprocess.run(command, env=environment, cwd=variant.cwd, check=True, capture_output=True, text=True).stdout


def _modules(variant: Variant) -> set[str]:
    return set(output(variant, f"{variant.code}; {_SHOW_MODULES}").split())


def system_calls(variant: Variant) -> Counter[str]:
    """Return the numbers of system calls of the whole process, by name, in its second run."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "calls")
        output(variant, variant.code, "strace", "-f", "-c", "-U", "calls,name", "-o", str(table))
        rows = (line.split() for line in table.read_text().splitlines())
        return Counter(
            {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit() and row[1] != "total"}
        )
