"""Import a real package from a read-only tree twice, without and with pycachehook.

    python examples/read_only_tree.py [PACKAGE ...]        (default: sympy and its requirements)

The packages are copied from this environment into a separate directory, without bytecode. The directory is made
read-only: for root by a read-only bind mount in a private mount namespace (permission bits do not stop root), for
others by its permissions.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules

from mounts import read_only  # noqa: E402

STATS = "import json, pycachehook; print(json.dumps(pycachehook.active().stats.as_dict()))"


def copy_packages(names: list[str], target: Path) -> None:
    """Copy each package's sources and shared libraries, without `__pycache__`."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            sys.exit(f"There is no package {name} in this environment: pip install {name}")
        folder = Path(next(iter(spec.submodule_search_locations)))
        shutil.copytree(folder, target / name, ignore=shutil.ignore_patterns("__pycache__"))


def start(prefix: list[str], tree: Path, *arguments: str) -> tuple[float, str]:
    """Run one process that imports from the tree; return its duration in seconds, and its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYCACHEHOOK_"))}
    environment["PYTHONPATH"] = str(tree)
    began = time.perf_counter()
    done = subprocess.run(
        [*prefix, sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - began, done.stdout


def main() -> None:
    """Print one line for CPython alone, and one for pycachehook."""
    names = sys.argv[1:] or ["sympy", "mpmath"]
    with tempfile.TemporaryDirectory() as folder:
        tree, cache = Path(folder, "tree"), Path(folder, "cache")
        tree.mkdir()
        copy_packages(names, tree)
        with read_only(tree) as prefix:
            code = f"import {names[0]}"
            print(f"import {names[0]}, from a read-only tree{'first start':>24}{'second start':>16}")
            alone = [start(prefix, tree, "-c", code)[0] for _ in range(2)]
            print(f"{'CPython alone':40}{alone[0]:>17.2f} s{alone[1]:>14.2f} s")
            run = ("-m", "pycachehook", "run", "--cache-dir", str(cache), "-c", f"{code}; {STATS}")
            ours = [start(prefix, tree, *run) for _ in range(2)]
            print(f"{'with pycachehook':40}{ours[0][0]:>17.2f} s{ours[1][0]:>14.2f} s")
            for which, (_, output) in zip(("first", "second"), ours, strict=True):
                stats = json.loads(output)
                print(
                    f"{which} start: compiled {stats['compiled']}, stored {stats['stored']}, read from the cache {stats['hits']}"
                )


if __name__ == "__main__":
    main()
