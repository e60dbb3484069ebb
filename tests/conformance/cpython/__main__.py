"""Arguments and printing."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import deviations
from .comparison import AGAIN, Differences, Result, compare
from .environments import MODES, Side, about, make_sides, make_wheel
from .report import failures, summary
from .runs import Runner
from .suite import MEDIUM, MODULES, QUICK


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; return 1 if an unlisted test differs, or a listed one does not, else 0."""
    parsed = _parser().parse_args(arguments)
    known = deviations.load()
    modules = tuple(parsed.modules or (QUICK if parsed.quick else MEDIUM if parsed.medium else MODULES))
    directory = Path(tempfile.mkdtemp(prefix="cpython-", dir=parsed.directory))
    figures: list[dict[str, Any]] = []

    def save() -> None:
        if parsed.json is not None:
            parsed.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")

    try:
        wheel = make_wheel(directory)
        for number, (python, mode) in enumerate((python, mode) for python in parsed.python for mode in parsed.mode):
            suite = about(python, modules)
            figures.append(
                {"python": suite["version"], "mode": mode, "no suite": suite["missing"], "modules": {}}
                | {"not there": [name for name in modules if name not in suite["modules"]]}
            )
            if suite["modules"]:
                sides = make_sides(python, wheel, directory / str(number), mode)
                for name in suite["modules"]:
                    figures[-1]["modules"][name] = _compare(sides, suite["version"], name, known, mode)
                    save()  # after each module, so that a run that is stopped has its results
            print(summary(figures[-1], known), flush=True)
            save()
    finally:
        if not parsed.keep:
            shutil.rmtree(directory, ignore_errors=True)
    return int(any(failures(each) for each in figures))


def _compare(
    sides: Mapping[str, Side], python: str, name: str, known: list[deviations.Deviation], mode: str
) -> dict[str, Any]:
    """Return the result of one module with one interpreter in one mode as JSON values."""
    version = ".".join(python.split(".")[:2])
    listed = deviations.listed(known, version, name, mode)
    result = compare(Runner(sides), name, listed, lambda text: print(f"{version}, {mode}: {text}", file=sys.stderr))
    return _as_json(result, listed)


def _as_json(result: Result, listed: dict[str, deviations.Deviation]) -> dict[str, Any]:
    """Return a module's result, with listed and unlisted differences separated."""

    def shown(found: Differences) -> dict[str, dict[str, str]]:
        return {
            test: {"difference": str(pair), "prefix": pair.prefix.text, "hook": pair.hook.text}
            for test, pair in found.items()
        }

    there = {*result.compared, *result.skipped}
    return {
        "compared": len(result.compared),
        "skipped": len(result.skipped),
        "listed": {test: listed[test].what for test in result.differ if test in listed},
        "unlisted": shown({test: pair for test, pair in result.differ.items() if test not in listed}),
        "no longer": [test for test in listed if test in there and test not in result.differ],
        "no way back": shown(result.no_way_back),
        "unsteady": shown(result.unsteady),
        "as without a prefix": result.as_plain,
        "fail in both, pass without a prefix": [test for test, passes in result.fail_in_both.items() if passes],
        "fail in any case": [test for test, passes in result.fail_in_both.items() if not passes],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.cpython", allow_abbrev=False)
    parser.description = (
        "Run CPython's own regression suite with the hook on, and under sys.pycache_prefix, and compare test by test. "
        f"What differs unexpectedly is run alone, {AGAIN} times on both sides, and counts if it differs each time. "
        "Exit code 1 if a test differs that deviations.toml does not list, or does not differ although it is listed."
    )
    parser.add_argument(
        "--python",
        nargs="+",
        type=Path,
        default=[Path(sys.executable)],
        metavar="PATH",
        help="interpreters, which have their test package (default: this one)",
    )
    parser.add_argument(
        "--mode",
        nargs="+",
        choices=list(MODES),
        default=["default"],
        help="options of the hook: none; the shared layout; an unchecked archive with gc=freeze; in_tree=ignore with an "
        "empty cache; lazy imports on both sides (Python 3.15) (default: %(default)s)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--modules", nargs="+", metavar="NAME", help="modules of the suite, such as test_import")
    what.add_argument("--quick", action="store_true", help=f"these alone: {', '.join(QUICK)}")
    what.add_argument("--medium", action="store_true", help="all but process pools, subinterpreters and venv")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too, with all tracebacks")
    parser.add_argument("--directory", metavar="DIR", help="where to make the environments (default: TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="leave the environments and the logs there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
