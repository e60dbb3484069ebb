"""Print, as Markdown, the sums over all processes that wrote their counters to a file."""

import json
import sys
from pathlib import Path


def summary(path: str) -> str:
    """Return the job's summary; truncated and invalid lines are skipped."""
    processes = hits = compiled = stored = 0
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if path else []
    except OSError:
        lines = []
    for line in lines:
        try:
            told = json.loads(line)
            numbers = [int(told[name]) for name in ("hits", "compiled", "stored")]
        except (ValueError, KeyError, TypeError):
            continue
        processes += 1
        hits, compiled, stored = (total + more for total, more in zip((hits, compiled, stored), numbers, strict=True))
    if not hits + compiled:
        return "### pycachehook\n\nNo process has loaded a module through the cache."
    rate = f"{hits / (hits + compiled):.1%}"
    return (
        "### pycachehook\n\n| hit rate | processes | modules from the cache | compiled | stored |\n|---|---|---|---|---|\n"
        f"| {rate} | {processes} | {hits} | {compiled} | {stored} |"
    )


if __name__ == "__main__":
    print(summary(sys.argv[1] if len(sys.argv) > 1 else ""))
