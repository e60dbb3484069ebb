"""One tree of 100,000 modules against one of 10,000: what each command and a start take; and 200 processes at once.

The modules are generated, a hundred to a package. Each command runs once on each tree, in a process of its own, with
one job for each processor; `cpu s` is the processor time of the command and its workers, which other load changes
little, and `MiB` the larger of their peaks (`ru_maxrss`). A start imports one module of each of a hundred packages; its
time is that of the imports, the median of the rounds. The 200 processes do the same at once: `seconds` are from the
first spawn to the last exit. Every start must compile nothing, and compute the right sum from all its modules. The
trees, caches and archives take 1 GiB and 300,000 files.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .applications import Application
from .counts import ClaimError
from .environment import Environment
from .measure import Measurement, Record, clean_environment

DEFAULT: tuple[str, ...] = ()
FEW, MANY = 10_000, 100_000
IN_A_PACKAGE = 100
IMPORTED = 100  # packages of which a start imports one module
PROCESSES = 200

_TOOL = """
import resource, sys
from pycachehook.cli.main import main
code = main(sys.argv[1:])
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(sum(each.ru_utime + each.ru_stime for each in used), max(each.ru_maxrss for each in used) / 1024, file=sys.stderr)
sys.exit(code)
"""
_START = """
import importlib, resource, sys, time
began = time.process_time()
found = [importlib.import_module(f"p{number}.m{number %% %d}").function(1) for number in range(%d)]
print(sum(found), time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


class Scene:
    """A tree of so many modules, its cache and its archive, and the interpreter of an activated environment."""

    def __init__(self, folder: Path, count: int, python: Path) -> None:
        self.count = count
        self.tree, self.cache, self.archive = folder / "tree", folder / "cache", folder / "tree.pyca"
        self._stats, self._python = folder / "stats", python
        self.packages = min(IMPORTED, count // IN_A_PACKAGE)
        for package in range(count // IN_A_PACKAGE):
            directory = self.tree / f"p{package}"
            directory.mkdir(parents=True)
            (directory / "__init__.py").touch()
            for number in range(IN_A_PACKAGE - 1):
                (directory / f"m{number}.py").write_text(_source(package, number), encoding="utf-8")

    def variables(self, **extra: str) -> dict[str, str]:
        """Return the environment of every process."""
        return clean_environment(PYTHONPATH=str(self.tree), PYCACHEHOOK_CACHE_DIR=str(self.cache), **extra)

    def command(self, *arguments: str | Path, codes: Sequence[int] = (0,)) -> tuple[float, float]:
        """Run a command; return its processor time and its peak in MiB. Raises ClaimError for another exit code."""
        done = subprocess.run(
            [self._python, "-c", _TOOL, *arguments], env=self.variables(), capture_output=True, text=True, check=False
        )
        if done.returncode not in codes:
            raise ClaimError(f"{arguments} of {self.count} modules: {done.returncode}\n{done.stdout}{done.stderr}")
        seconds, memory = done.stderr.split()[-2:]
        return float(seconds), float(memory)

    def starts(self, extra: Mapping[str, str], processes: int = 1) -> tuple[float, float, float]:
        """Start so many processes at once; return the time until all have ended, the imports' median, the greatest peak.

        Raises ClaimError if one of them compiles anything, or computes a wrong sum.
        """
        self._stats.unlink(missing_ok=True)
        variables = self.variables(PYCACHEHOOK_STATS=str(self._stats), **extra)
        command = (str(self._python), "-c", _START % (IN_A_PACKAGE - 1, self.packages))
        began = time.perf_counter()
        children = [subprocess.Popen(command, env=variables, stdout=subprocess.PIPE) for _ in range(processes)]
        said = [child.communicate()[0].split() for child in children]
        seconds = time.perf_counter() - began
        right = sum(_value(package, package % (IN_A_PACKAGE - 1)) + 1 for package in range(self.packages))
        counted = [json.loads(line) for line in self._stats.read_text(encoding="utf-8").splitlines()]
        wrong = sum(not each or int(each[0]) != right for each in said)
        compiled = sum(each["compiled"] for each in counted)
        if wrong or compiled or len(counted) != processes:
            raise ClaimError(f"{wrong} of {processes} wrong, {compiled} compiled, {len(counted)} counted")
        return seconds, statistics.median(float(each[1]) for each in said), max(float(each[2]) for each in said)


def run(environment: Environment, _applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Make the trees, and measure."""
    sizes = tuple(int(each) for each in os.environ.get("SCALE", f"{FEW} {MANY}").split())
    processes = int(os.environ.get("SCALE_PROCESSES", PROCESSES))
    root = environment.caches / "scale"
    shutil.rmtree(root, ignore_errors=True)
    found: dict[str, dict[int, tuple[float, float]]] = {}
    crowd: list[Record] = []
    for count in sizes:
        scene = Scene(root / str(count), count, environment.default.python)
        archive, tree = scene.archive, scene.tree
        for arguments in (
            ("precompile", tree),
            ("precompile", tree, "--jobs", "1"),
            ("status",),
            ("doctor",),
            ("prune", "--max-age", "30d", "--max-size", "100G", "--dry-run"),
            ("prune", "--orphans"),
            ("archive", "build", "--path", tree, archive),
            ("archive", "verify", archive),
        ):
            name = " ".join(str(each) for each in arguments if each not in (tree, archive))
            name = {"precompile --jobs 1": "precompile again, --jobs 1"}.get(name, name)
            found.setdefault(name, {})[count] = scene.command(*arguments, codes=(0, 1) if name == "doctor" else (0,))
        variants: dict[str, dict[str, str]] = {"entries": {}, "the archive": {"PYCACHEHOOK_ARCHIVES": str(archive)}}
        for name, extra in variants.items():
            scene.starts(extra)  # warms up
            taken = [scene.starts(extra)[1:] for _ in range(rounds)]
            seconds, peaks = zip(*taken, strict=True)
            found.setdefault(f"start from {name}", {})[count] = statistics.median(seconds), max(peaks)
        for name, extra in variants.items():
            seconds, _, peak = scene.starts(extra, processes)
            row: Record = {"modules": count, "processes": processes, "from": name, "seconds": seconds}
            crowd.append(row | {"MiB of one": peak, "compiled": 0, "wrong": 0})
        shutil.rmtree(root / str(count))
    return Measurement({"commands": [_row(name, each) for name, each in found.items()], "at once": crowd}, {})


def _row(name: str, figures: Mapping[int, tuple[float, float]]) -> Record:
    """Return one line: processor time and MiB of each size, and the ratio of the last to the first."""
    first, last = next(iter(figures.values())), list(figures.values())[-1]
    row: Record = {"what": name}
    for position, unit in enumerate(("cpu s", "MiB")):
        row |= {f"{count}: {unit}": each[position] for count, each in figures.items()}
        row[f"{unit}, ratio"] = last[position] / first[position]
    return row


def _value(package: int, number: int) -> int:
    return package * 1000 + number


def _source(package: int, number: int) -> str:
    return (
        f'"""Module {number} of package {package}."""\n\nimport sys\n\nNAME = "p{package}.m{number}"\n\n\n'
        f"class Kind:\n    def method(self, argument=None):\n        return [argument, NAME, sys.version_info]\n\n\n"
        f"def function(value):\n    return value + {_value(package, number)}\n"
    )
