"""`python -m tests.conformance.ecosystem [NAMES...] [--json FILE]`: exit code 1 on a difference that is not listed."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import tomllib
from dataclasses import asdict
from pathlib import Path

from .packages import SUITES
from .suites import compare


def main() -> int:
    """Run the named suites, or all; print a line for each, and one for each difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.ecosystem", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(SUITES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")
    parser.add_argument("--directory", metavar="DIR", help="where to make the environments (default: TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="leave the environments and pytest's output there")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(SUITES)
    if unknown:
        parser.error(f"There is no suite {', '.join(sorted(unknown))}.")
    listed = tomllib.loads(Path(__file__).with_name("differences.toml").read_text(encoding="utf-8"))
    known = {(each["suite"], each["test"]) for each in listed.get("difference", ())}
    expected = {(each["suite"], each["path"]) for each in listed.get("bytecode", ())}
    found, bad = {}, False
    for name in arguments.names or SUITES:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=arguments.directory))
        try:
            comparison = compare(SUITES[name], folder)
        finally:
            if not arguments.keep:
                shutil.rmtree(folder, ignore_errors=True)
        listed_here = [test for test in comparison.differences if (name, test) in known]
        found[name] = asdict(comparison) | {"python": platform.python_version(), "listed": listed_here}
        new = {test: pair for test, pair in comparison.differences.items() if (name, test) not in known}
        print(
            f"{name}: {comparison.counts}, {len(comparison.differences)} different, {len(new)} not listed", flush=True
        )
        for test, (without, hooked) in new.items():
            print(f"  {test}: {without} without the hook, {hooked} with it", flush=True)
        for test in comparison.unsteady:
            print(f"  {test}: differed once, but not when it was run alone", flush=True)
        for test in comparison.fail_on_both:
            print(f"  {test}: fails on both sides", flush=True)
        if comparison.last_words:
            print(comparison.last_words, flush=True)
        bytecode = [path for path in comparison.bytecode if (name, path) not in expected]
        for path in bytecode:
            print(f"  bytecode in the tree only with the hook: {path}", flush=True)
        happened = comparison.lookups and comparison.counts.get("passed")
        bad = bad or bool(new or bytecode) or not happened
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
