"""Functions that the examples have in common: processes with counters, tables, and an end with one sentence."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn


def stop(sentence: str) -> NoReturn:
    """End the example with exit code 1 and one sentence that says what is missing or went wrong."""
    sys.exit(sentence)


def clean_environment(**variables: object) -> dict[str, str]:
    """Return the environment without variables that configure Python or pycachehook, and with `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYCACHEHOOK_"))}
    return kept | {name: str(value) for name, value in variables.items()}


def finish(*command: object, cwd: Path | None = None, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return the process with its output; end the example if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=clean_environment(**variables), capture_output=True, text=True, check=False
    )
    if done.returncode:
        stop(f"{' '.join(words)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return done


def run(*command: object, cwd: Path | None = None, **variables: object) -> str:
    """Run a command to its end and return its output; end the example if it fails."""
    return finish(*command, cwd=cwd, **variables).stdout


def compiled_by_cpython(told: str, tree: Path) -> list[Path]:
    """Return the sources below `tree` that CPython compiled, once per compilation, by `PYTHONVERBOSE=1`."""
    return [path for path in _code_objects(told, tree) if path.suffix == ".py"]


def loaded_by_cpython(told: str, tree: Path) -> list[Path]:
    """Return the pycs below `tree` that CPython loaded, once per load, by `PYTHONVERBOSE=1`."""
    return [path for path in _code_objects(told, tree) if path.suffix == ".pyc"]


def _code_objects(told: str, tree: Path) -> list[Path]:
    found = map(Path, re.findall(r"^# code object from '?(.*?)'?$", told, re.MULTILINE))
    return [path for path in found if path.is_relative_to(tree)]


def take_stats(file: Path) -> list[dict[str, Any]]:
    """Return the lines that `PYCACHEHOOK_STATS` has collected in `file`, one per process, and remove it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    file.unlink()
    return [json.loads(line) for line in lines]


def counters(stats: dict[str, Any]) -> list[object]:
    """Return the counters named in `COUNTERS` of one process."""
    places = stats["hits_by_place"]
    return [stats["compiled"], stats["stored"], places["store"], places["in_tree"], stats["misses"]]


COUNTERS = ("compiled", "stored", "from the cache", "from __pycache__", "misses")


def folders_of_bytecode(tree: Path) -> int:
    """Return the number of `__pycache__` directories below `tree`."""
    return len(list(tree.rglob("__pycache__")))


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Print a table whose columns are as wide as their longest cell."""
    lines = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
