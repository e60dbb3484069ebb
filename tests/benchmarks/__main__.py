"""Arguments and printing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import (
    activation,
    advice,
    aged,
    ahead,
    archive,
    cold,
    cold_pages,
    concurrent,
    floor,
    forked,
    hashes,
    memory,
    million,
    mtimes,
    precompile,
    read_only,
    scale,
    shared,
    slow_disk,
    sums,
    traced,
    warm,
    whole_process,
)
from .applications import APPLICATIONS
from .chart import draw
from .counts import ClaimError
from .environment import prepare
from .measure import Measurement, Priority, Record, Skipped

MEASUREMENTS: dict[str, Any] = {
    "warm": warm,
    "activation": activation,
    "cold": cold,
    "ahead": ahead,
    "read_only": read_only,
    "mtimes": mtimes,
    "concurrent": concurrent,
    "precompile": precompile,
    "aged": aged,
    "archive": archive,
    "process_entries": whole_process.ENTRIES,
    "process_unchecked": whole_process.UNCHECKED,
    "process_checked": whole_process.CHECKED,
    "floor": floor,
    "cold_pages": cold_pages,
    "slow_disk": slow_disk,
    "memory": memory,
    "forked": forked,
    "hashes": hashes,
    "shared": shared,
    "traced": traced,
    "advice": advice,
    "sums": sums,
    "million": million,
    "scale": scale,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested measurements; return 1 if a variant did not do what it is measured for, else 0."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.rounds < 1:
        parser.error("argument --rounds: it takes one round at least")
    if parsed.read and not parsed.chart:
        parser.error("argument --read: it is for --chart FILE, which is missing")
    if parsed.read:
        reports = [json.loads(each.read_text("utf-8")) for each in parsed.read]
        draw(reports, parsed.chart)
        return 0
    Priority.real_time = parsed.real_time
    chosen = {
        name: {case: APPLICATIONS[case] for case in parsed.applications or MEASUREMENTS[name].DEFAULT}
        for name in parsed.only or MEASUREMENTS
    }
    _say("preparing the environments")
    environment = prepare(parsed.environment, [each for cases in chosen.values() for each in cases.values()])
    report: dict[str, Any] = {"python": sys.version, "platform": platform.platform(), "processors": os.cpu_count()}
    report |= {"rounds": parsed.rounds, "load before": os.getloadavg(), "measurements": {}}
    failed = False
    for name, applications in chosen.items():
        _say(name)
        module = MEASUREMENTS[name]
        print(f"\n{name}\n{'=' * len(name)}\n{module.__doc__}")
        try:
            measurement: Measurement = module.run(environment, applications, parsed.rounds)
        except (Skipped, ClaimError, subprocess.CalledProcessError) as error:
            failed |= not isinstance(error, Skipped)
            report["measurements"][name] = {type(error).__name__: str(error)}
            print(f"{type(error).__name__}: {error}")
        else:
            report["measurements"][name] = asdict(measurement)
            for heading, rows in measurement.tables.items():
                print(f"{heading}:\n{table(rows)}\n", flush=True)
        report["load after"] = os.getloadavg()
        parsed.json.write_text(
            json.dumps(report, indent=1), encoding="utf-8"
        )  # written after each measurement, because a long run may be aborted
    if parsed.chart:
        draw([report], parsed.chart)
    before, after = report["load before"][0], report["load after"][0]
    print(f"load {before:.2f} before, {after:.2f} after, {os.cpu_count()} processors")
    return int(failed)


def table(rows: Sequence[Record]) -> str:
    """Return rows as lines of text under a line of column names: numbers aligned right, other columns left."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([_cell(row.get(column, ""), column) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = [any(isinstance(row.get(column), str) for row in rows) for column in columns]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in cells
    )


def _cell(value: str | float, column: str) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if column.endswith("ms") else f"{value:.3f}"
    return str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure this project.")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pycachehook-benchmarks")
    only, applications = list(MEASUREMENTS), list(APPLICATIONS)
    parser.add_argument(
        "--only", nargs="+", choices=only, metavar="NAME", help=f"measure these alone: {', '.join(only)}"
    )
    parser.add_argument(
        "--applications",
        nargs="+",
        choices=applications,
        metavar="NAME",
        help=f"with these programs, instead of each measurement's own: {', '.join(applications)}",
    )
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="start single processes with real-time priority (Linux, root), on a machine with other work to do",
    )
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks.json"), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios as SVG (needs matplotlib)")
    parser.add_argument(
        "--read", type=Path, nargs="+", metavar="JSON", help="measure nothing; draw what these reports hold"
    )
    parser.add_argument(
        "--environment",
        type=Path,
        default=cache,
        metavar="DIR",
        help="where the environments are (default: %(default)s)",
    )
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
