"""`python -m tests.property [--seconds N] [TEST...]`: repeat the property tests, each time with other examples.

A round that fails ends the run with exit code 1; its seed repeats it. The examples that fail are kept by Hypothesis, and
tried first in any later run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run rounds until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.property", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first round (default: %(default)s)")
    parser.add_argument("tests", nargs="*", default=[str(HERE)], metavar="TEST", help="default: all")
    arguments = parser.parse_args()
    began, seed = time.monotonic(), arguments.seed
    while True:
        command = [sys.executable, "-m", "pytest", "-q", f"--hypothesis-seed={seed}"]
        done = subprocess.run([*command, *arguments.tests], capture_output=True, text=True, check=False)
        taken = time.monotonic() - began
        print(f"{taken:.0f} s, seed {seed}: {done.stdout.strip().rpartition(chr(10))[2]}", flush=True)
        if done.returncode:
            print(done.stdout, done.stderr)
            return 1
        if taken >= arguments.seconds:
            return 0
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
