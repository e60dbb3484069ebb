"""Memory of eight workers forked from a process that has imported a program, as by gunicorn's `--preload`.

    cpython    bytecode in each package's `__pycache__`
    default, pause, freeze    this project, entries with `checked-hash`, with each value of the option `gc`
    hand-made  CPython, with `gc.freeze()` before the fork, as the documentation of `gc` recommends

Each worker collects all generations once, as after some requests, and waits. `private` is the memory that a worker no
longer shares with any other process, the mean over the workers; `all` is the sum of proportional set sizes (PSS) over
the workers and their parent.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from .activation import output
from .applications import Application
from .environment import Environment
from .measure import Measurement, Record, Skipped

DEFAULT = ("sympy", "django")
WORKERS = 8
FREEZE = "\nimport gc; gc.freeze()"
_FORK = """
import gc, os

def sizes(pid):
    with open(f"/proc/{{pid}}/smaps_rollup") as file:
        fields = dict(line.split(":", 1) for line in file if "kB" in line)
    size = lambda name: int(fields[name].split()[0])
    return size("Private_Clean") + size("Private_Dirty"), size("Pss")

ready, is_ready = os.pipe()
wait, go = os.pipe()
workers = []
for _ in range({workers}):
    worker = os.fork()
    if not worker:
        os.close(go)
        gc.collect()
        os.write(is_ready, b".")
        os.read(wait, 1)
        os._exit(0)
    workers.append(worker)
for _ in workers:
    os.read(ready, 1)
found = [sizes(each) for each in workers]
print(sum(private for private, _ in found) / len(workers), sizes("self")[1] + sum(pss for _, pss in found))
"""


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Measure all variants, as medians over a third of the rounds, because sizes hardly vary."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise Skipped("private and proportional set sizes need /proc/PID/smaps_rollup")
    rows: list[Record] = []
    for case, application in applications.items():
        ours = environment.archived(case, application, "store", "store, paused", "store, frozen")
        trees = {
            "cpython": environment.compiled,
            "hand-made": environment.compiled,
            "default": ours["store"],
            "pause": ours["store, paused"],
            "freeze": ours["store, frozen"],
        }
        sizes: dict[str, list[float]] = {}
        for name, tree in trees.items():
            code = application.code + FREEZE * (name == "hand-made") + _FORK.format(workers=WORKERS)
            variant = tree.variant(name, code)
            output(variant, code)  # fills the cache
            found = [output(variant, code).split()[-2:] for _ in range(max(1, rounds // 3))]
            sizes[name] = [statistics.median(map(float, column)) / 1024 for column in zip(*found, strict=True)]
        for name, (private, everything) in sizes.items():
            row: Record = {"case": case, "variant": name, "private MiB": private, "all MiB": everything}
            row |= {"private/cpython": private / sizes["cpython"][0], "all/cpython": everything / sizes["cpython"][1]}
            rows.append(row)
    return Measurement({f"memory of {WORKERS} forked workers": rows}, {})
