"""The attack table: imports under errors of each system call, system-call filters, kills, full and read-only disks.

`python -m tests.stress.attack_table` from the project's root prints it; `--help` lists the options. Each attack is made
on an import into an empty cache and on one from a full cache, in each layout and mode and with archives. Afterwards an
undisturbed process must find no defect. "raised" counts imports that failed because their own source could not be found
or read, as they do without the hook.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter

from . import system_call_filter
from .attacks import KINDS, STATES, WAYS, Field


def unavailable() -> dict[str, str]:
    """Return the kinds of attack that are not possible on this machine, with their requirements."""
    missing: dict[str, str] = {}
    if shutil.which("strace") is None:
        missing |= dict.fromkeys(("system calls that fail", "killed at system calls"), "strace(1)")
    if not system_call_filter.is_possible():
        missing["seccomp filters"] = "Linux on x86-64 or AArch64"
    if os.geteuid() or shutil.which("unshare") is None:
        missing["full and read-only disks"] = "root and unshare(1)"
    return missing


def main() -> int:
    """Make the attacks; return 1 if a check failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.attack_table", allow_abbrev=False)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="make every N-th attack only")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="these layouts and modes only")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="these attacks only")
    parsed = parser.parse_args()
    missing = unavailable()
    wrong: list[str] = []
    print(f"python {sys.version.split()[0]}, seed {parsed.seed}, every {parsed.every}")
    print(f"{'attack':<26}{'way':<19}{'import':<8}{'attacks':>8}{'raised':>8}{'wrong':>7}")
    total: Counter[str] = Counter()
    for way in parsed.way or WAYS:
        folder = tempfile.mkdtemp(prefix="attacks-")
        os.chmod(folder, 0o755)
        try:
            field = Field(folder, way)
            for kind in parsed.kind or KINDS:
                for state in STATES if kind not in missing else ():
                    drawn = random.Random(f"{parsed.seed}/{way}/{kind}/{state}")
                    counts: Counter[str] = Counter()
                    for what, result in KINDS[kind](field, state, parsed.every, drawn):
                        counts.update(attacks=1, raised=int(result.raised), wrong=int(result.fault is not None))
                        if result.fault is not None:
                            wrong.append(f"{way}, {state}: {what}: {result.fault}")
                            print(wrong[-1], file=sys.stderr, flush=True)
                    total.update(counts)
                    numbers = "".join(
                        f"{counts[name]:>{width}}" for name, width in (("attacks", 8), ("raised", 8), ("wrong", 7))
                    )
                    print(f"{kind:<26}{way:<19}{state:<8}{numbers}", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    for kind, need in missing.items():
        print(f"{kind:<26}unavailable: needs {need}")
    print(f"{'all':<53}{total['attacks']:>8}{total['raised']:>8}{total['wrong']:>7}")
    print("\n".join(wrong) if wrong else "passed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
