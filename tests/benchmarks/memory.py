"""Memory of eight waiting workers that have all imported a program: proportional set sizes (PSS), from `smaps_rollup`.

    cpython    bytecode in each package's `__pycache__`
    archive    this project, an `unchecked-hash` archive, with `gc = "pause"`

Each worker is a separate process. A page that n processes share counts as 1/n of a page for each of them.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .applications import Application
from .environment import Environment
from .measure import Measurement, Record, Skipped, Variant, clean_environment

DEFAULT = ("sympy", "django")
WORKERS = 8
WAIT = "\nprint(flush=True); import sys; sys.stdin.read()"


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Measure both, as medians over a third of the rounds, because sizes hardly vary."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise Skipped("proportional set sizes need /proc/PID/smaps_rollup")
    rows: list[Record] = []
    for case, application in applications.items():
        ours = environment.archived(case, application, "paused")["paused"]
        trees = {"cpython": environment.compiled, "archive": ours}
        sizes = {
            name: statistics.median(
                _pss(tree.variant(name, application.code + WAIT)) for _ in range(max(1, rounds // 3))
            )
            for name, tree in trees.items()
        }
        rows += [
            {"case": case, "variant": name, "MiB": size, "against cpython": size / sizes["cpython"]}
            for name, size in sizes.items()
        ]
    return Measurement({f"memory of {WORKERS} workers": rows}, {})


def _pss(variant: Variant) -> float:
    """Return the sum over the workers, in MiB."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [variant.python, "-c", variant.code]
    environment = clean_environment(**variant.environment)
    workers = [subprocess.Popen(command, env=environment, cwd=variant.cwd, **pipes) for _ in range(WORKERS)]  # type: ignore[call-overload]
    try:
        for worker in workers:
            worker.stdout.readline()
        rollups = [Path(f"/proc/{worker.pid}/smaps_rollup").read_text(encoding="ascii") for worker in workers]
    finally:
        for worker in workers:
            worker.communicate()
    lines = (line.split() for text in rollups for line in text.splitlines())
    return sum(int(words[1]) for words in lines if words[0] == "Pss:") / 1024
