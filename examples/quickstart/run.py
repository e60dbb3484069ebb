"""Start `contents.py` three times, the last time after an edit that a timestamp does not show, and count."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps import COUNTERS, counters, folders_of_bytecode, run, table, take_stats  # noqa: E402

HERE = Path(__file__).resolve().parent


def edit_within_a_second(module: Path) -> None:
    """Change a module without changing its size and its modification time."""
    before = module.stat()
    module.write_text(module.read_text(encoding="utf-8").replace('"-"', '"*"'), encoding="utf-8")
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))


def main() -> None:
    """Print the first line of each start's output, and the counters of all starts."""
    with tempfile.TemporaryDirectory() as folder:
        program, cache, stats = Path(folder, "program"), Path(folder, "cache"), Path(folder, "stats.jsonl")
        shutil.copytree(HERE, program, ignore=shutil.ignore_patterns("__pycache__"))
        rows = []
        for which in ("first start", "second start", "after an edit"):
            if which == "after an edit":
                edit_within_a_second(program / "outline" / "layout.py")
            command = (sys.executable, program / "contents.py", HERE / "README.md")
            printed = run(*command, PYCACHEHOOK_CACHE_DIR=cache, PYCACHEHOOK_STATS=stats)
            (counted,) = take_stats(stats)
            rows.append((which, printed.splitlines()[0], *counters(counted)))
        table(("", "first line", *COUNTERS), rows)
        print(f"entries in the cache: {len(list(cache.rglob('*.pyc')))}")
        print(f"__pycache__ beside the sources: {folders_of_bytecode(program)}")


if __name__ == "__main__":
    main()
